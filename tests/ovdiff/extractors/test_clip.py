from dataclasses import replace

import numpy as np
import pytest
import torch

from ovdiff.errors import PresetError
from ovdiff.extractors.clip import ClipExtractor
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.part_settings import ClipFeatureSettings


def test_features_are_the_clip_s_keys_or_tokens(preset: Preset, models: LoadedModels, image: np.ndarray) -> None:
    clip, settings = models.clip(preset.models.clip), preset.extractors.clip
    keys = ClipExtractor(clip, settings).extract(image[None], "support")
    assert torch.equal(keys, clip.keys(image[None], (64, 64), -2, "half"))
    tokens = ClipExtractor(clip, replace(settings, feature="tokens")).extract(image[None], "support")
    assert torch.equal(tokens, clip.tokens(image[None], (64, 64), "half"))


def test_the_paper_reads_the_second_to_last_block_with_imagenet_s_statistics() -> None:
    assert (ClipFeatureSettings().layer, ClipFeatureSettings().statistics) == (-2, "imagenet")


def test_window_aspect_may_be_kept_and_statistics_matter(preset: Preset, models: LoadedModels) -> None:
    clip, settings = models.clip(preset.models.clip), preset.extractors.clip
    wide = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3), dtype=np.uint8)
    kept = ClipExtractor(clip, replace(settings, aspect="keep"))
    assert kept.extract(wide, "window").shape[2:] == (4, 8)
    assert kept.extract(wide, "support").shape[2:] == (8, 8)
    other = ClipExtractor(clip, replace(settings, aspect="keep", statistics="imagenet"))
    assert not torch.allclose(kept.extract(wide, "window"), other.extract(wide, "window"))


def test_an_unknown_block_is_refused(preset: Preset, models: LoadedModels) -> None:
    settings = replace(preset.extractors.clip, layer=-5)
    with pytest.raises(PresetError, match=r"extractors\.clip\.layer is -5; this transformer has 4 blocks, 0 to 3"):
        ClipExtractor(models.clip(preset.models.clip), settings)
