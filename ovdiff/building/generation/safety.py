"""Checks that find unsafe generated images, so that they can be drawn anew before a person sees them.

There are two checks. Stable Diffusion's own check compares an image with embeddings of adult concepts that its authors
chose. CLIP's check asks whether an unsafe text fits an image better than every safe text. CLIP's check needs no further
weights, but it is coarse, and its texts were not measured on real images, because no pretrained weights could be had
here. ``safety.margin`` makes it more lenient.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.presets import Preset
from ovdiff.presets.model_settings import ClipModelSettings, ModelSettings
from ovdiff.presets.needs import safety_model

if TYPE_CHECKING:
    from ovdiff.models.clip import Clip
    from ovdiff.models.loaded import LoadedModels

UNSAFE_TEXTS = (
    "a photo of a naked person",
    "an adult film",
    "an erotic picture",
    "a photo of a bleeding wound",
    "a photo of a dead body",
    "a scene of brutal violence",
)
SAFE_TEXTS = (
    "a photo",
    "a photo of an object",
    "a photo of an animal",
    "a photo of a person with clothes on",
    "a photo of people in public",
    "a photo of food",
    "a photo of a room",
    "a photo of a street",
    "a photo of a landscape",
    "a photo of plants",
    "a drawing",
    "a pattern",
)


class SafetyCheck(Protocol):
    """A check that says which images are unsafe and must not be shown."""

    def refused(self, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return (B,) bool: whether each of the images (B, H, W, 3) uint8 RGB is unsafe."""
        ...


class CheckerSafety:
    """Stable Diffusion's safety checker."""

    def __init__(self, checker: Any, processor: Any) -> None:
        """Use a StableDiffusionSafetyChecker and the CLIPImageProcessor that prepares its input."""
        self._checker, self._processor = checker, processor

    @torch.inference_mode()
    def refused(self, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Say which images are near an adult concept."""
        weights = next(self._checker.parameters())
        pixels = self._processor(list(images), return_tensors="pt", input_data_format="channels_last").pixel_values
        stand_ins = np.zeros((len(images), 1))  # The checker blackens these, and decides by the embeddings alone.
        with _without_advice():
            _, found = self._checker(clip_input=pixels.to(weights), images=stand_ins)
        return np.array(found, dtype=bool)


class ClipTextSafety:
    """CLIP's check, which compares an image with unsafe and safe texts."""

    def __init__(self, clip: "Clip", margin: float) -> None:
        """Embed the texts. An unsafe text must fit an image by ``margin`` (cosine) better than every safe text."""
        self._clip, self._margin = clip, margin
        self._unsafe, self._safe = (_stack(clip.embed_texts(texts)) for texts in (UNSAFE_TEXTS, SAFE_TEXTS))

    def refused(self, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Say which images an unsafe text describes best."""
        embedded = self._clip.embed_images(images, "clip")
        unsafe, safe = ((embedded @ texts.T).amax(dim=1) for texts in (self._unsafe, self._safe))
        found: NDArray[np.bool_] = (unsafe > safe + self._margin).numpy(force=True)
        return found


def make_safety_check(preset: Preset, models: "LoadedModels") -> SafetyCheck | None:
    """Return the check that a preset asks for; ``None`` if it asks for no check.

    Raises:
        WeightsError: its model cannot be loaded.
    """
    model = safety_model(preset)
    if model is None:
        return None
    if model == "clip":
        return ClipTextSafety(models.clip(preset.models.given("clip", ClipModelSettings)), preset.safety.margin)
    return CheckerSafety(*models.safety_checker(preset.models.given("safety_checker", ModelSettings)))


def _stack(vectors: list[Tensor | None]) -> Tensor:
    return torch.stack([vector for vector in vectors if vector is not None])


@contextmanager
def _without_advice() -> Iterator[None]:
    """Silence the checker's advice to try another seed and its claim of a black image, which do not apply here."""
    logger = logging.getLogger("diffusers.pipelines.stable_diffusion.safety_checker")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
