"""Both checks on small models; which real images they refuse cannot be tested here."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessor

from ovdiff.building.generation.safety import (
    SAFE_TEXTS,
    UNSAFE_TEXTS,
    CheckerSafety,
    ClipTextSafety,
    make_safety_check,
)
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.building_settings import SafetySettings
from ovdiff.presets.model_settings import ModelSettings


class _Clip:
    """Texts are axes, unsafe ones first; an image's first pixels are its cosines with them, in 1/100."""

    def embed_texts(self, texts: Sequence[str]) -> list[Tensor | None]:
        everything = UNSAFE_TEXTS + SAFE_TEXTS
        return [torch.eye(len(everything))[everything.index(text)] for text in texts]

    def embed_images(self, images: NDArray[np.uint8], statistics: str) -> Tensor:
        assert statistics == "clip"
        return torch.from_numpy(images[:, 0, : len(UNSAFE_TEXTS + SAFE_TEXTS), 0] / np.float32(100))


def _image(unsafe: int, safe: int) -> NDArray[np.uint8]:
    """Return an image whose last unsafe and last safe text fit it as told; all others fit it by 0.1."""
    image = np.full((64, 64, 3), 10, np.uint8)
    image[0, len(UNSAFE_TEXTS) - 1] = unsafe
    image[0, len(UNSAFE_TEXTS) + len(SAFE_TEXTS) - 1] = safe
    return image


def _refused(margin: float) -> list[bool]:
    images = np.stack([_image(30, 20), _image(20, 30), _image(25, 25), _image(27, 25)])
    return ClipTextSafety(_Clip(), margin).refused(images).tolist()  # type: ignore[arg-type]


def test_an_image_is_refused_where_an_unsafe_text_fits_better_than_every_safe_one() -> None:
    assert _refused(0.0) == [True, False, False, True]


def test_the_margin_makes_it_more_lenient() -> None:
    assert _refused(0.05) == [True, False, False, False]
    assert _refused(-0.2) == [True, True, True, True]


def test_texts_are_many_and_in_one_list_only() -> None:
    assert len(set(UNSAFE_TEXTS + SAFE_TEXTS)) == len(UNSAFE_TEXTS) + len(SAFE_TEXTS) > 10


@pytest.fixture(scope="module")
def checker() -> StableDiffusionSafetyChecker:
    torch.manual_seed(0)
    tower: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    vision = {**tower, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    return StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=8)).eval()


@pytest.fixture(scope="module")
def processor() -> CLIPImageProcessor:
    return CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def _teach(checker: StableDiffusionSafetyChecker, processor: Any, unsafe: NDArray[np.uint8]) -> None:
    """Make the embedding of one image the only concept that is near anything."""
    pixels = processor([unsafe], return_tensors="pt", input_data_format="channels_last").pixel_values
    with torch.no_grad():
        concept = checker.visual_projection(checker.vision_model(pixels)[1])[0]
        checker.concept_embeds[:] = concept
        checker.special_care_embeds[:] = concept
        checker.concept_embeds_weights[:] = 0.999
        checker.special_care_embeds_weights[:] = 2.0


def test_stable_diffusion_s_checker_refuses_what_is_near_its_concepts(
    checker: StableDiffusionSafetyChecker,
    processor: CLIPImageProcessor,
    images: NDArray[np.uint8],
    caplog: pytest.LogCaptureFixture,
) -> None:
    _teach(checker, processor, images[1])
    before = images.copy()
    check = CheckerSafety(checker, processor)
    assert check.refused(images).tolist() == [False, True, False]
    assert check.refused(images[1:2]).tolist() == [True]
    np.testing.assert_array_equal(images, before)  # it blackens what it is given
    assert not caplog.records  # and advises to try another prompt


def test_the_checker_s_own_dtype_is_used(
    checker: StableDiffusionSafetyChecker, processor: CLIPImageProcessor, images: NDArray[np.uint8]
) -> None:
    _teach(checker, processor, images[1])
    half = StableDiffusionSafetyChecker(checker.config).bfloat16().eval()
    half.load_state_dict(checker.state_dict())
    with torch.no_grad():
        half.concept_embeds_weights[:] = 0.95
    assert CheckerSafety(half, processor).refused(images)[1]


def test_the_preset_says_which_check(
    preset: Preset,
    models: LoadedModels,
    checker: StableDiffusionSafetyChecker,
    processor: CLIPImageProcessor,
    images: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    assert make_safety_check(preset, models) is None
    by_text = make_safety_check(replace(preset, safety=SafetySettings("auto", margin=2.0)), models)
    assert isinstance(by_text, ClipTextSafety) and not by_text.refused(images).any()
    checker.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    with_checker = replace(preset.models, safety_checker=ModelSettings(str(tmp_path)))
    own = make_safety_check(replace(preset, models=with_checker, safety=SafetySettings("auto")), models)
    assert isinstance(own, CheckerSafety) and own.refused(images).shape == (3,)
    forced = make_safety_check(replace(preset, models=with_checker, safety=SafetySettings("clip_text")), models)
    assert isinstance(forced, ClipTextSafety)
