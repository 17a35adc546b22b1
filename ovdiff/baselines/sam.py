"""SAM (Kirillov et al., ICCV 2023) with the truth's own boxes or points: an upper line for masks.

Whoever gives the boxes of the truth has answered what is where; what is left is how well the outlines follow the
objects. So this is no rival of methods that are given words, and no engine: it needs the truth.
`ovdiff.evaluation.upper_line` lays it beside the engines of an evaluation.

::

    line = SamUpperLine(SamSettings(), LoadedModels("cpu"))
    masks = line.masks_for_boxes(image, boxes_xyxy)        # (N, H, W) bool
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import SamModel

from ovdiff.baselines.preset import SamSettings
from ovdiff.errors import ImageError
from ovdiff.images import image_key, require_image
from ovdiff.models.devices import computable
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pixels import images_to_pixels
from ovdiff.models.pretrained import DTYPES, load_transformer

Prompts = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]


@dataclass(frozen=True)
class SamMasks:
    """SAM's answer to some prompts.

    Attributes:
        masks: (N, H, W) bool, a mask for each prompt.
        trust: (N,) float32, SAM's own estimate of each mask's IoU, in [0, 1].
    """

    masks: NDArray[np.bool_]
    trust: NDArray[np.float32]


class SamUpperLine:
    """SAM's masks of boxes and points. An image is encoded once, as long as no other one comes between."""

    def __init__(self, settings: SamSettings, models: LoadedModels) -> None:
        """Load nothing yet."""
        self._settings, self._models = settings, models
        self._last: tuple[str, Tensor] | None = None

    def masks_for_boxes(self, image: NDArray[np.uint8], boxes_xyxy: Prompts) -> NDArray[np.bool_]:
        """Return a mask for each box, (N, H, W): those of :meth:`for_boxes`."""
        return self.for_boxes(image, boxes_xyxy).masks

    def masks_for_points(self, image: NDArray[np.uint8], points_xy: Prompts) -> NDArray[np.bool_]:
        """Return a mask for each point, (N, H, W): those of :meth:`for_points`."""
        return self.for_points(image, points_xy).masks

    def for_boxes(self, image: NDArray[np.uint8], boxes_xyxy: Prompts) -> SamMasks:
        """Return a mask for each box, with SAM's trust in it.

        Args:
            image: (H, W, 3) uint8 RGB.
            boxes_xyxy: (N, 4) in px of the image: left, top, right, bottom.

        Raises:
            ImageError: the image or the boxes have another form.
            WeightsError: SAM cannot be loaded.
        """
        boxes = _require(boxes_xyxy, 4, "boxes, left, top, right, bottom")

        def prompt(some: Tensor) -> dict[str, Any]:
            return {"input_boxes": some[None], "multimask_output": False}

        return self._masks(image, boxes, prompt)

    def for_points(self, image: NDArray[np.uint8], points_xy: Prompts) -> SamMasks:
        """Return a mask for each point, of SAM's three the one that it trusts most, with its trust.

        Args:
            image: (H, W, 3) uint8 RGB.
            points_xy: (N, 2) in px of the image, each inside an object.

        Raises:
            ImageError: the image or the points have another form.
            WeightsError: SAM cannot be loaded.
        """
        points = _require(points_xy, 2, "points, x, y")

        def prompt(some: Tensor) -> dict[str, Any]:
            return {"input_points": some[None, :, None], "multimask_output": True}

        return self._masks(image, points, prompt)

    def load(self) -> None:
        """Load SAM, unless it is loaded.

        Raises:
            WeightsError: SAM cannot be loaded.
        """
        with self._models.lock:
            _ = self._model

    def _masks(
        self, image: NDArray[np.uint8], prompts: NDArray[np.float32], prompt: Callable[[Tensor], dict[str, Any]]
    ) -> SamMasks:
        require_image(image)
        masks: list[NDArray[np.bool_]] = [np.zeros((0, *image.shape[:2]), dtype=np.bool_)]
        trust: list[NDArray[np.float32]] = [np.zeros(0, dtype=np.float32)]
        with self._models.lock, torch.inference_mode():
            size_hw = self._resized_hw(image)
            scale = np.array([size_hw[1] / image.shape[1], size_hw[0] / image.shape[0]], dtype=np.float32)
            scaled = torch.from_numpy(prompts * np.tile(scale, prompts.shape[1] // 2)).to(self._models.device)
            for start in range(0, len(scaled), self._settings.prompts_at_once):
                some = scaled[start : start + self._settings.prompts_at_once]
                drawn = self._of_prompts(image, size_hw, prompt(some))
                masks.append(drawn.masks)
                trust.append(drawn.trust)
        return SamMasks(np.concatenate(masks), np.concatenate(trust))

    def _of_prompts(self, image: NDArray[np.uint8], size_hw: tuple[int, int], prompt: dict[str, Any]) -> SamMasks:
        answer = self._model(image_embeddings=self._embedded(image, size_hw), **prompt)
        best = answer.iou_scores[0].argmax(dim=1)
        masks = answer.pred_masks[0][torch.arange(len(best), device=best.device), best][:, None].float()
        side = self._model.config.vision_config.image_size
        masks = F.interpolate(masks, (side, side), mode="bilinear", align_corners=False)
        masks = masks[..., : size_hw[0], : size_hw[1]]
        masks = F.interpolate(masks, image.shape[:2], mode="bilinear", align_corners=False)
        trust = answer.iou_scores[0].amax(dim=1).float().clamp(0, 1)
        return SamMasks((masks[:, 0] > 0).cpu().numpy(), trust.cpu().numpy())

    def _embedded(self, image: NDArray[np.uint8], size_hw: tuple[int, int]) -> Tensor:
        """Return SAM's embedding of an image, resized to its long side and padded at the right and below."""
        key = image_key(image)
        if self._last is None or self._last[0] != key:
            pillow = Image.fromarray(np.ascontiguousarray(image))
            resized = np.asarray(pillow.resize((size_hw[1], size_hw[0]), Image.Resampling.BILINEAR))
            like = self._model.shared_image_embedding.positional_embedding
            pixels = images_to_pixels(resized[None], size_hw, "imagenet", like)
            side = self._model.config.vision_config.image_size
            padded = F.pad(pixels, (0, side - size_hw[1], 0, side - size_hw[0]))
            self._last = key, self._model.get_image_embeddings(padded)
        return self._last[1]

    def _resized_hw(self, image: NDArray[np.uint8]) -> tuple[int, int]:
        height, width = image.shape[:2]
        scale = self._model.config.vision_config.image_size / max(height, width)
        return int(height * scale + 0.5), int(width * scale + 0.5)

    @cached_property
    def _model(self) -> Any:
        settings = computable(self._settings.model, self._models.device)

        def load() -> Any:
            return load_transformer(SamModel, settings, DTYPES[settings.dtype]).to(self._models.device)

        return self._models.once("a SamModel", settings, load)


def _require(prompts: Prompts, length: int, what: str) -> NDArray[np.float32]:
    found = np.asarray(prompts, dtype=np.float32)
    if found.size == 0:
        found = found.reshape(0, length)
    if found.ndim != 2 or found.shape[1] != length or not np.isfinite(found).all():
        raise ImageError(f"Expected (N, {length}) {what}, in px of the image, got an array of the shape {found.shape}.")
    return found
