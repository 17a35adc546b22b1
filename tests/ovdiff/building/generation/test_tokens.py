import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from ovdiff.building.generation.tokens import category_span, fill
from ovdiff.errors import VocabularyError
from ovdiff.tinyworld.training import tokenizer as tokenizers

TEMPLATE = "a good photo of a {category}"
INSIDE = "a photo of a {category} on a road, a good photo"


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return tokenizers.build()


@pytest.mark.parametrize("template", [TEMPLATE, INSIDE, "{category}, a boat", "A GOOD photo of  a {category} ."])
@pytest.mark.parametrize(
    "phrase",
    [
        "boat",
        "red fish",  # several words
        "red  fish",  # and more space than needed
        "zebra",  # split into pieces
        "Zebra crossing",  # upper case, pieces and words
        "a",  # in the template
        "good photo",  # several words of the template
        "photo of a",  # a run of the template that the template's own end continues
        "good",
        "road",  # after the category in one template
        "7 up",  # digits
        "ice-cream",
        "água",  # bytes
    ],
)
def test_the_span_is_the_phrase_where_the_template_puts_it(
    tokenizer: CLIPTokenizer, template: str, phrase: str
) -> None:
    ids = tokenizer(fill(template, phrase)).input_ids
    span = category_span(tokenizer, template, phrase)
    assert ids[span] == _alone(tokenizer, phrase)
    assert span.start == 1 + len(_alone(tokenizer, template.partition("{category}")[0]))


@given(
    before=st.lists(st.sampled_from(["a", "good", "photo", "of", "boat", "zebra"]), max_size=4),
    phrase=st.lists(st.text("abot éZ7-", min_size=1, max_size=5), min_size=1, max_size=3),
    after=st.lists(st.sampled_from(["a", "on", "boat", ",", "zebra"]), max_size=4),
)
@example(before=["a"], phrase=["a"], after=["a"])
def test_whatever_surrounds_it_the_span_is_the_phrase(
    tokenizer: CLIPTokenizer, before: list[str], phrase: list[str], after: list[str]
) -> None:
    text = " ".join(" ".join(phrase).split())
    if not text:
        return
    template = " ".join([*before, "{category}", *after])
    span = category_span(tokenizer, template, text)
    assert tokenizer(fill(template, text)).input_ids[span] == _alone(tokenizer, text)
    assert span.start == 1 + len(_alone(tokenizer, " ".join(before)))


@pytest.mark.parametrize("phrase", ["boat", "7 up!", "boat..."])
def test_a_full_stop_at_the_word_is_no_part_of_it_unless_they_share_a_token(
    tokenizer: CLIPTokenizer, phrase: str
) -> None:
    template = "a photo of a {category}."
    pieces = tokenizer.convert_ids_to_tokens(tokenizer(fill(template, phrase)).input_ids)
    found = "".join(pieces[category_span(tokenizer, template, phrase)]).replace("</w>", "")
    letters = phrase.replace(" ", "")
    assert re.fullmatch(re.escape(letters) + r"\.?", found)


@pytest.mark.parametrize("template", ["a good photo of a {category}house", "a good photo of a house{category}"])
def test_a_part_of_a_word_is_refused(tokenizer: CLIPTokenizer, template: str) -> None:
    with pytest.raises(VocabularyError, match=r"'boat' is only part of a word.*prompt_template"):
        category_span(tokenizer, template, "boat")


def test_a_phrase_beyond_the_encoder_s_reach_is_refused(tokenizer: CLIPTokenizer) -> None:
    phrase = ("boat " * 60).strip()
    with pytest.raises(VocabularyError, match=r"60 tokens it ends beyond the 48 tokens.*shorter"):
        category_span(tokenizer, TEMPLATE, phrase)


def test_the_last_place_that_is_read_can_be_used(tokenizer: CLIPTokenizer) -> None:
    fits = tokenizer.model_max_length - 2 - len(_alone(tokenizer, "a good photo of a"))
    phrase = " ".join(["boat"] * fits)
    ids = tokenizer(fill(TEMPLATE, phrase), truncation=True, max_length=tokenizer.model_max_length).input_ids
    assert ids[category_span(tokenizer, TEMPLATE, phrase)] == _alone(tokenizer, phrase)
    with pytest.raises(VocabularyError, match="does not fit"):
        category_span(tokenizer, TEMPLATE, f"{phrase} boat")


def test_a_template_may_end_beyond_what_is_read(tokenizer: CLIPTokenizer) -> None:
    assert category_span(tokenizer, "a {category}" + " boat" * 60, "fish") == slice(2, 3)


def _alone(tokenizer: CLIPTokenizer, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return found
