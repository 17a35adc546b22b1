import torch

from ovdiff.models.loaded import LoadedModels
from ovdiff.models.texts import ClipTexts
from ovdiff.presets import Preset
from tests.fakes.texts import CountingTexts


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
