"""What every extractor promises."""

from dataclasses import replace
from typing import get_type_hints

import numpy as np
import pytest
import torch

from ovdiff.errors import PresetError
from ovdiff.extractors import Extractors
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.building_settings import ExtractorSettings
from ovdiff.presets.needs import EXTRACTORS
from ovdiff.presets.part_settings import FeatureSettings

NAMES = sorted(EXTRACTORS.built_in)


def _images(count: int, height: int = 40, width: int = 50) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_every_table_of_the_schema_is_of_an_extractor_and_of_its_settings() -> None:
    hints = get_type_hints(ExtractorSettings)
    tables = {
        name: kind for name, kind in hints.items() if isinstance(kind, type) and issubclass(kind, FeatureSettings)
    }
    assert tables == {name: part.settings for name, part in EXTRACTORS.built_in.items()}


@pytest.mark.parametrize("name", NAMES)
def test_features_are_float32_maps_and_equal_images_have_equal_features(
    name: str, preset: Preset, models: LoadedModels
) -> None:
    extractor = Extractors(preset, models)[name]
    images = _images(2)
    batch = extractor.extract(np.concatenate([images, images[:1]]), "window")
    assert batch.dtype == torch.float32 and batch.ndim == 4 and batch.isfinite().all()
    assert torch.equal(batch[0], batch[2])
    torch.testing.assert_close(batch[:1], extractor.extract(images[:1], "window"), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(batch[0], batch[1])
    assert batch.std() > 0


@pytest.mark.parametrize(
    ("name", "support", "window"),
    [
        ("stable_diffusion", 48, 28),
        ("clip", 24, 14),
        ("dino", 24, 14),
        ("dinov2", 14, 8),
        ("dinov3", 12, 7),
        ("mae", 12, 7),
    ],
)
def test_sizes_come_from_the_preset(name: str, support: int, window: int, preset: Preset, models: LoadedModels) -> None:
    settings = replace(getattr(preset.extractors, name), support_px=192, window_px=112)
    chosen = replace(preset, extractors=replace(preset.extractors, **{name: settings}))
    extractor = Extractors(chosen, models)[name]
    assert extractor.extract(_images(1), "support").shape[2:] == (support, support)
    assert extractor.extract(_images(1, 112, 112), "window").shape[2:] == (window, window)


@pytest.mark.parametrize("name", NAMES)
def test_images_are_resized_as_the_preset_says(name: str, preset: Preset, models: LoadedModels) -> None:
    found = []
    for resampling in ("bicubic", "bilinear"):
        settings = replace(getattr(preset.extractors, name), resampling=resampling)
        chosen = replace(preset, extractors=replace(preset.extractors, **{name: settings}))
        found.append(Extractors(chosen, models)[name].extract(_images(1, 200, 150), "window"))
    assert found[0].shape == found[1].shape and not torch.allclose(*found, atol=1e-3)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"stable_diffusion"}))
def test_pixels_that_fill_no_patch_are_cut_off_where_the_preset_says_so(
    name: str, preset: Preset, models: LoadedModels
) -> None:
    settings = replace(getattr(preset.extractors, name), aspect="keep", remainder="cut", window_px=448)
    chosen = replace(preset, extractors=replace(preset.extractors, **{name: settings}))
    extractor, images = Extractors(chosen, models)[name], _images(1, 112, 118)  # 112 is whole for 8, 14 and 16
    found = extractor.extract(images, "window")
    assert torch.equal(found, extractor.extract(images[:, :, :112], "window"))
    stretched = replace(settings, remainder="stretch")
    chosen = replace(preset, extractors=replace(preset.extractors, **{name: stretched}))
    other = Extractors(chosen, models)[name].extract(images, "window")
    assert other.shape != found.shape or not torch.allclose(other, found, atol=1e-3)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"stable_diffusion"}))
def test_an_unknown_block_is_refused(name: str, preset: Preset, models: LoadedModels) -> None:
    settings = replace(getattr(preset.extractors, name), layer=24)
    chosen = replace(preset, extractors=replace(preset.extractors, **{name: settings}))
    with pytest.raises(PresetError, match=f"extractors.{name}.layer is 24; this transformer has"):
        Extractors(chosen, models)[name]


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"stable_diffusion"}))
def test_transformers_give_keys_and_tokens(name: str, preset: Preset, models: LoadedModels) -> None:
    found = []
    for feature in ("keys", "tokens"):
        settings = replace(getattr(preset.extractors, name), feature=feature)
        chosen = replace(preset, extractors=replace(preset.extractors, **{name: settings}))
        found.append(Extractors(chosen, models)[name].extract(_images(1), "window"))
    keys, tokens = found
    assert keys.shape[2:] == tokens.shape[2:]
    assert keys.shape != tokens.shape or not torch.allclose(keys, tokens)
