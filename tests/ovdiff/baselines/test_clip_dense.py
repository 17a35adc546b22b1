from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovdiff.baselines.clip_dense import ClipDense
from ovdiff.baselines.preset import ClipDensePreset, TextSettings
from ovdiff.baselines.similarity import cosines, without_redundance
from ovdiff.baselines.words import word_vectors
from ovdiff.engines import load_any_preset
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.texts import ClipTexts
from ovdiff.presets.model_settings import ClipModelSettings

WORDS = ["a cat", "a tall tree", "sky"]


@pytest.fixture(scope="module")
def models() -> LoadedModels:
    return LoadedModels()


@pytest.fixture
def preset(clip_folders: dict[str, Path]) -> ClipDensePreset:
    published = load_any_preset("sclip")
    assert isinstance(published, ClipDensePreset)
    clip = ClipModelSettings(source=str(clip_folders["transformers"]))
    return replace(
        published, models=replace(published.models, clip=clip), texts=TextSettings(("a {category}", "{category}"))
    )


def _method(preset: ClipDensePreset, models: LoadedModels, **dense: Any) -> ClipDense:
    return ClipDense(replace(preset, dense=replace(preset.dense, **dense)), models)


@torch.inference_mode()
def test_windows_are_stretched_to_whole_patches(
    preset: ClipDensePreset, models: LoadedModels, photographs: NDArray[np.uint8]
) -> None:
    patches, whole = ClipDense(preset, models).encode(photographs[:, :39])
    assert patches.shape == (2, 64, 2, 4) and whole.shape == (2, 64)
    assert patches.dtype == whole.dtype == torch.float32


@torch.inference_mode()
def test_maps_are_cosines_with_words_or_what_is_left_of_them(
    preset: ClipDensePreset, models: LoadedModels, photographs: NDArray[np.uint8]
) -> None:
    texts, templates = ClipTexts(models.clip(preset.models.clip), 100), preset.texts.templates
    vectors, empty = word_vectors(texts, WORDS, templates), word_vectors(texts, [""], templates)[0]
    encoded = ClipDense(preset, models).encode(photographs)
    found = ClipDense(preset, models).maps(encoded, WORDS, (48, 64))
    torch.testing.assert_close(found, cosines(encoded[0], vectors))
    left = _method(preset, models, remove_redundant=True, redundant_scale=3.0).maps(encoded, WORDS, (48, 64))
    torch.testing.assert_close(left, without_redundance(*encoded, vectors, empty, 3.0))
    assert found.shape == left.shape == (2, 3, 3, 4) and not torch.equal(found, left)


@torch.inference_mode()
def test_the_class_token_of_surgery_is_clip_s_own(
    preset: ClipDensePreset, models: LoadedModels, photographs: NDArray[np.uint8]
) -> None:
    resized = photographs[:, :48, :48].repeat(5, axis=1).repeat(5, axis=2)[:, :224, :224]
    whole = _method(preset, models, attention="clip_surgery").encode(resized)[1]
    clip = models.clip(preset.models.clip)
    torch.testing.assert_close(torch.nn.functional.normalize(whole, dim=1), clip.embed_images(resized, "clip"))


def test_the_weights_identity_is_that_of_clip(preset: ClipDensePreset, models: LoadedModels) -> None:
    assert list(ClipDense(preset, models).weights()) == ["clip"]
