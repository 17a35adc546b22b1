from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from ovdiff.baselines.words import competing_words, word_vectors
from ovdiff.errors import VocabularyError
from ovdiff.models.texts import ClipTexts
from ovdiff.vocabulary import Category, Vocabulary

VECTORS = {"a cat": [2.0, 0.0], "one cat": [0.0, 4.0], "a dog": [3.0, 3.0], "one dog": [1.0, 1.0]}


class _Encoder:
    def embed_texts(self, texts: Sequence[str]) -> list[Tensor | None]:
        return [torch.tensor(VECTORS[text]) if text in VECTORS else None for text in texts]


def test_phrases_come_first_and_then_words_of_the_background_that_nobody_asked_for() -> None:
    vocabulary = Vocabulary([Category("vehicle", prompts=("car", "Bus")), "Sky"])
    words = competing_words(vocabulary, ("wall", "sky", " wall ", "bus", "vehicle", "floor"))
    assert words.texts == ("car", "Bus", "Sky", "wall", "floor")
    assert words.owners == (0, 0, 1, 2, 2) and words.categories == 2
    assert competing_words(Vocabulary(["cat"]), ()).owners == (0,)


def test_a_word_s_vector_is_the_mean_over_its_templates() -> None:
    texts, templates = ClipTexts(_Encoder(), 100), ("a {category}", "one {category}")
    raw = word_vectors(texts, ["cat", "dog"], templates, unit=False)
    assert raw.tolist() == [[1.0, 2.0], [2.0, 2.0]]
    torch.testing.assert_close(word_vectors(texts, ["cat"], templates), torch.tensor([[1.0, 2.0]]) / 5**0.5)


def test_a_text_that_is_too_long_is_named() -> None:
    with pytest.raises(
        VocabularyError, match=r"'a very long text' is longer than the text encoder reads. Give a shorter"
    ):
        word_vectors(ClipTexts(_Encoder(), 100), ["very long text"], ("a {category}",))
