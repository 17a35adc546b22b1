"""The position of a category's tokens in its prompt. Never imports torch."""

from typing import Any

from ovdiff.errors import VocabularyError

_PLACE = "{category}"


def fill(template: str, phrase: str) -> str:
    """Return the prompt that a template makes of a phrase."""
    return template.replace(_PLACE, phrase)


def category_span(tokenizer: Any, template: str, phrase: str) -> slice:
    """Return the positions of a phrase's tokens in its tokenised prompt, in which the start token is counted.

    The span holds every token that overlaps the characters which the phrase has in the prompt. A search for the
    phrase's tokens (A.2.3) would find the wrong ones for a category that is in the template too, such as "a" or "good
    photo", and would fail for a phrase whose last token changes with the full stop behind it.

    Args:
        tokenizer: a CLIPTokenizer; its offsets are read.
        template: a text that contains ``{category}`` once.
        phrase: the category's phrase.

    Raises:
        VocabularyError: the text encoder does not read the prompt as far as the phrase's end, or the phrase is only a
            part of a word.
    """
    prompt, start = fill(template, phrase), template.index(_PLACE)
    end = start + len(phrase)
    _refuse_part_of_word(prompt, start, end)
    offsets = tokenizer(prompt, return_offsets_mapping=True, verbose=False).offset_mapping
    inside = [index for index, (first, last) in enumerate(offsets) if first < end and last > start]
    readable = tokenizer.model_max_length - 1  # The end token takes the last place.
    if not inside or inside[-1] >= readable:
        raise VocabularyError(
            f"{phrase!r} does not fit: with its {len(inside)} tokens it ends beyond the {readable + 1} tokens that the "
            f"text encoder reads of the prompt {prompt!r}. Use a shorter phrase."
        )
    return slice(inside[0], inside[-1] + 1)


def _refuse_part_of_word(prompt: str, start: int, end: int) -> None:
    for left, right in ((start - 1, start), (end - 1, end)):
        if left >= 0 and right < len(prompt) and prompt[left].isalnum() and prompt[right].isalnum():
            raise VocabularyError(
                f"{prompt[start:end]!r} is only part of a word in the prompt {prompt!r}. "
                f"Put spaces around {_PLACE!r} in generation.prompt_template."
            )
