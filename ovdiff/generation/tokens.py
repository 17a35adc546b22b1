"""Where a category stands among the tokens of its prompt. Never imports torch."""

from collections.abc import Sequence
from typing import Any

from ovdiff.errors import VocabularyError


def category_span(tokenizer: Any, prompt: str, phrase: str) -> slice:
    """Return the positions of a phrase's tokens in a tokenised prompt (start token included).

    The whole sub-sequence is matched, and its last occurrence taken: a category named "a" or "good photo"
    occurs in the template too, and the template puts the category last (A.2.3).

    Args:
        tokenizer: a CLIPTokenizer.
        prompt: the full prompt, which contains the phrase.
        phrase: the category's phrase.

    Raises:
        VocabularyError: the prompt is longer than the text encoder reads, so that the phrase is cut off.
    """
    limit = tokenizer.model_max_length
    wanted = tokenizer(phrase, add_special_tokens=False).input_ids
    read = tokenizer(prompt, truncation=True, max_length=limit).input_ids
    start = find_last(read, wanted)
    if start is None:
        raise VocabularyError(
            f"The prompt {prompt!r} is longer than the {limit} tokens that the text encoder reads, or "
            f"{phrase!r} ({len(wanted)} tokens) is not a phrase of its own in it. Use a shorter phrase."
        )
    return slice(start, start + len(wanted))


def find_last(sequence: Sequence[int], wanted: Sequence[int]) -> int | None:
    """Return where ``wanted`` last occurs as a contiguous run; ``None`` if it is empty or does not occur."""
    length = len(wanted)
    if not length:
        return None
    for start in range(len(sequence) - length, -1, -1):
        if list(sequence[start : start + length]) == list(wanted):
            return start
    return None
