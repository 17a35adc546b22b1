"""Nothing mixes tensors of the GPU and of the CPU: a category and an image on a GPU that is pretended."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ovdiff.bank import Bank
from ovdiff.engine import Engine
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.segmenting import image_segmenter
from ovdiff.vocabulary import Vocabulary
from tests.gpu.pretended import PretendedTensor, pretended_gpu


@pytest.fixture
def gpu() -> Iterator[None]:
    with pretended_gpu():
        yield


def test_a_category_is_built_and_an_image_segmented_also_by_an_encoding_that_another_process_stored(
    gpu: None, preset: Preset, image: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = replace(preset, cache=replace(preset.cache, features_mib=64, disk_mib=64))
    words, models = Vocabulary(["boat", "water"]), LoadedModels("cuda")
    first, second = (Engine(kept, Bank(tmp_path), models=models) for _ in range(2))
    for category in words.categories:
        first.build(category)
    found = first.segment(image, words)
    assert isinstance(models.diffusion(preset.models.generator).unet.conv_in.weight, PretendedTensor)
    monkeypatch.setattr(image_segmenter, "encode_image", lambda *_: pytest.fail("encoded again"))
    np.testing.assert_array_equal(second.segment(image, words).label_map, found.label_map)


def test_meta_what_fails_on_a_gpu_fails_here(gpu: None) -> None:
    there, here = torch.ones(2, 3, device="cuda"), torch.ones(3)
    assert there.device.type == "cuda" and float((there + here.to("cuda")).sum()) == 12.0
    assert not (there.cpu() + here).is_cuda
    for mix in (lambda: there + here, lambda: there @ here, lambda: torch.stack([there[0], here])):
        with pytest.raises(RuntimeError, match="same device"):
            mix()
    for look in (there.numpy, lambda: np.asarray(there)):
        with pytest.raises(TypeError, match="numpy"):
            look()
    with pytest.raises(RuntimeError, match="generator of cpu"):
        torch.randn(3, device="cuda", generator=torch.Generator("cpu"))
