from collections.abc import Sequence

import torch
from torch import Tensor

from ovdiff.models.loaded import LoadedModels
from ovdiff.models.texts import ClipTexts
from ovdiff.presets import Preset


class CountingTexts:
    """Stands in for a CLIP: a text is the unit vector of its length, and each pass is counted."""

    def __init__(self) -> None:
        self.passes: list[list[str]] = []

    def embed_texts(self, texts: Sequence[str]) -> list[Tensor | None]:
        if texts:
            self.passes.append(list(texts))
        angles = torch.tensor([float(len(text)) for text in texts])
        return list(torch.stack([angles.cos(), angles.sin()], dim=1))


def test_texts_are_encoded_once_while_the_cache_holds_them() -> None:
    clip = CountingTexts()
    texts = ClipTexts(clip, 2)  # type: ignore[arg-type]
    texts.embed(["a", "b", "a"])
    texts.embed(["b", "a"])
    assert clip.passes == [["a", "b"]]
    texts.embed(["c"])  # lets go of "b"
    texts.embed(["a", "c"])
    assert clip.passes == [["a", "b"], ["c"]]
    first, second = texts.embed(["b", "dd"])
    assert clip.passes[2:] == [["b", "dd"]]
    assert first is not None and second is not None and not torch.equal(first, second)


def test_texts_longer_than_the_encoder_reads_have_no_embedding(preset: Preset, models: LoadedModels) -> None:
    texts = ClipTexts(models.clip(preset.models.clip), 1000)
    long, short = texts.embed(["boat " * 60, "a zebra"])
    assert long is None and short is not None
