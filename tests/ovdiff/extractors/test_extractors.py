"""What every extractor promises."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from ovdiff.errors import PresetError
from ovdiff.extractors import EXTRACTORS
from ovdiff.models import Models
from ovdiff.presets import Preset
from ovdiff.presets.schema import ExtractorName

NAMES = sorted(EXTRACTORS)


def _images(count: int, height: int = 40, width: int = 50) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_every_name_of_the_schema_has_an_extractor() -> None:
    assert set(EXTRACTORS) == set(get_args(ExtractorName))


@pytest.mark.parametrize("name", NAMES)
def test_features_are_float32_maps_and_equal_images_have_equal_features(
    name: ExtractorName, preset: Preset, models: Models
) -> None:
    extractor = EXTRACTORS[name](preset, models)
    images = _images(2)
    batch = extractor.extract(np.concatenate([images, images[:1]]), "window")
    assert batch.dtype == torch.float32 and batch.ndim == 4 and batch.isfinite().all()
    assert torch.equal(batch[0], batch[2])
    torch.testing.assert_close(batch[:1], extractor.extract(images[:1], "window"), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(batch[0], batch[1])
    assert batch.std() > 0


@pytest.mark.parametrize(("name", "grid"), [("stable_diffusion", 24), ("clip", 12), ("dino", 12)])
def test_sizes_come_from_the_preset(name: ExtractorName, grid: int, preset: Preset, models: Models) -> None:
    settings = replace(getattr(preset.extractors, name), support_px=96, window_px=64)
    chosen = replace(preset, extractors=replace(preset.extractors, **{name: settings}))
    extractor = EXTRACTORS[name](chosen, models)
    assert extractor.extract(_images(1), "support").shape[2:] == (grid, grid)
    assert extractor.extract(_images(1), "window").shape[2:] == (grid * 64 // 96,) * 2


@pytest.mark.parametrize("name", ["clip", "dino"])
def test_an_unknown_block_is_refused(name: ExtractorName, preset: Preset, models: Models) -> None:
    settings = replace(getattr(preset.extractors, name), layer=4)
    chosen = replace(preset, extractors=replace(preset.extractors, **{name: settings}))
    with pytest.raises(PresetError, match=f"extractors.{name}.layer is 4; this .* has 4 blocks"):
        EXTRACTORS[name](chosen, models)
