import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ovdiff.models.texts import ClipTexts
from ovdiff.segmenting.presence import LOGIT_SCALE, presence

ANGLES = {"boat": 0.1, "ship": 0.05, "sea": 0.4, "tree": 0.3}
IMAGE = torch.tensor([1.0, 0.0])


class Drawn:
    """Embeds "a WORD" at the word's angle; no other text can be read."""

    def embed_texts(self, texts: list[str]) -> list[Tensor | None]:
        angles = [ANGLES.get(text.removeprefix("a ")) for text in texts]
        return [None if angle is None else torch.tensor([math.cos(angle), math.sin(angle)]) for angle in angles]


def shares(*words: tuple[str, ...], learned: np.ndarray | None = None) -> tuple[float, ...]:
    return presence(IMAGE, words, ClipTexts(Drawn(), 100), "a {category}", learned)  # type: ignore[arg-type]


def softmax(*words: str) -> list[float]:
    odds = [math.exp(LOGIT_SCALE * math.cos(ANGLES[word])) for word in words]
    return [each / sum(odds) for each in odds]


def test_words_share_what_clip_sees() -> None:
    assert shares(("boat",), ("sea",), ("tree",)) == pytest.approx(softmax("boat", "sea", "tree"), rel=1e-4)


def test_a_word_is_seen_if_one_of_its_phrases_is() -> None:
    assert shares(("boat", "ship", "unreadable"), ("sea",)) == pytest.approx(softmax("ship", "sea"), rel=1e-4)


def test_what_annotated_images_say_is_added_to_the_cosines() -> None:
    added = np.array([0.0, math.cos(ANGLES["boat"]) - math.cos(ANGLES["sea"])])
    assert shares(("boat",), ("sea",), learned=added) == pytest.approx([0.5, 0.5], rel=1e-4)


def test_words_that_clip_cannot_read_are_not_seen() -> None:
    assert shares(("boat",), ("unreadable",)) == (1.0, 0.0)
    assert shares(("unreadable",)) == (0.0,)
