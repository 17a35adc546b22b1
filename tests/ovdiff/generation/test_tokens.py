import pytest
from transformers import CLIPTokenizer

from ovdiff.errors import VocabularyError
from ovdiff.generation.tokens import category_span, find_last
from ovdiff.tinyworld.training import tokenizer as tokenizers

TEMPLATE = "a good photo of a {}"


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return tokenizers.build()


@pytest.mark.parametrize(
    "phrase",
    [
        "boat",
        "red fish",  # several words
        "zebra",  # split into pieces
        "Zebra crossing",  # upper case, pieces and words
        "a",  # in the template
        "good photo",  # several words of the template
        "photo of a",  # a run of the template that the template's own end continues
        "good",
        "7 up!",  # digits and punctuation
        "ice-cream",
        "água",  # bytes
    ],
)
def test_the_span_is_the_phrase_at_the_end(tokenizer: CLIPTokenizer, phrase: str) -> None:
    prompt = TEMPLATE.format(phrase)
    span = category_span(tokenizer, prompt, phrase)
    ids = tokenizer(prompt).input_ids
    assert ids[span] == tokenizer(phrase, add_special_tokens=False).input_ids
    assert span.stop == len(ids) - 1  # only the end token follows


def test_template_words_after_the_category_do_not_mislead(tokenizer: CLIPTokenizer) -> None:
    ids = tokenizer("a photo of a boat on a road").input_ids
    span = category_span(tokenizer, "a photo of a boat on a road", "boat")
    assert tokenizer.decode(ids[span]).strip() == "boat"


def test_a_part_of_a_word_is_no_match(tokenizer: CLIPTokenizer) -> None:
    with pytest.raises(VocabularyError, match="is not a phrase of its own"):
        category_span(tokenizer, "a good photo of a boathouse", "boat")


def test_a_phrase_beyond_the_encoder_s_reach_is_refused(tokenizer: CLIPTokenizer) -> None:
    phrase = "boat " * 60
    with pytest.raises(VocabularyError, match=r"longer than the 48 tokens.*60 tokens.*shorter"):
        category_span(tokenizer, TEMPLATE.format(phrase), phrase)


def test_find_last() -> None:
    assert find_last([1, 2, 3, 1, 2], [1, 2]) == 3
    assert find_last([1, 2, 3], [2, 3]) == 1
    assert find_last([1, 2, 3], [3, 2]) is None
    assert find_last([1], [1, 2]) is None
    assert find_last([1, 2], []) is None
