from typing import Any

import torch
import torch.nn.functional as F

from ovdiff.models.anchor_texts import AnchorTexts
from ovdiff.presets.segmenting_settings import AnchorSettings

VECTORS = {"ship": (1.0, 0.02), "boat": (1.0, 0.0), "mug": (0.0, 1.0), "cup": (0.5, 1.0), "endless": None}


class KnownTexts:
    """Texts whose vectors were chosen; of an unknown text there is none, as of one that is too long."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Any) -> list[torch.Tensor | None]:
        self.asked += texts
        found = (VECTORS.get(text.removeprefix("a ")) for text in texts)
        return [None if vector is None else F.normalize(torch.tensor(vector), dim=0) for vector in found]


def _anchors(*words: str, same_cosine: float = 0.95) -> AnchorTexts:
    return AnchorTexts(KnownTexts(), AnchorSettings(words, same_cosine=same_cosine), "a {category}")  # type: ignore[arg-type]


def test_anchors_that_mean_the_same_as_a_phrase_step_aside() -> None:
    found = _anchors("ship", "boat", "mug", "cup").beside(["Boat"])
    assert found.words == ("ship", "mug", "cup")  # "Boat" cannot be read, so that its text alone is compared
    found = _anchors("ship", "boat", "mug", "cup").beside(["boat"])
    assert found.words == ("mug", "cup") and found.vectors.shape == (2, 2)
    found = _anchors("ship", "boat", "mug", "cup", same_cosine=0.85).beside(["boat", "mug"])
    assert found.words == ()


def test_an_anchor_at_the_threshold_stays() -> None:
    cosine = float(F.normalize(torch.tensor(VECTORS["cup"]), dim=0) @ torch.tensor(VECTORS["mug"]))
    assert _anchors("cup", same_cosine=cosine).beside(["mug"]).words == ("cup",)
    assert _anchors("cup", same_cosine=cosine - 1e-3).beside(["mug"]).words == ()


def test_words_that_are_too_long_are_left_out() -> None:
    texts = _anchors("mug", "endless")
    assert texts.beside(["boat"]).words == ("mug",)
    assert texts.phrases(["boat", "endless"]).shape == (1, 2)
    assert len(texts.phrases(["endless"])) == 0 == len(_anchors().beside(["boat"]).words)


def test_anchors_are_embedded_once() -> None:
    known = KnownTexts()
    texts = AnchorTexts(known, AnchorSettings(("mug", "cup")), "a {category}")  # type: ignore[arg-type]
    texts.beside(["boat"])
    texts.beside(["ship"])
    assert known.asked.count("a mug") == 1
