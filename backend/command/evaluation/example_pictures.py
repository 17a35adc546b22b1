"""Three small pictures of an evaluated image: what is true, what was found, and what is wrong; as JPEG."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from backend.presentation.overlay import label_colours, tint
from ovdiff.evaluation.dataset import UNKNOWN

LONGER_SIDE_PX = 420
_QUALITY = 82
_WRONG, _MARK, _UNKNOWN = (255, 48, 90), (255, 230, 0), (128, 128, 128)


@dataclass(frozen=True)
class ExamplePictures:
    """JPEG files of one image.

    Attributes:
        truth: the image, tinted by its true labels; grey where nobody knows.
        found: the image, tinted by the labels that were found.
        wrong: the image in grey, wrong pixels in red, and a yellow line around the largest wrong region.
    """

    truth: bytes
    found: bytes
    wrong: bytes


def example_pictures(
    image: NDArray[np.uint8],
    truth: NDArray[np.int32],
    given: NDArray[np.int32],
    region: NDArray[np.bool_] | None,
    category_count: int,
) -> ExamplePictures:
    """Draw the pictures of one image; a large image is made smaller first.

    Args:
        image: (H, W, 3) uint8 RGB.
        truth: (H, W) int32, the true labels.
        given: (H, W) int32, the labels that were found.
        region: (H, W) bool, the largest wrong region; ``None`` if there is none.
        category_count: how many categories the vocabulary has, which decides the colours.
    """
    scale = min(1.0, LONGER_SIDE_PX / max(truth.shape))
    shown_wh = max(1, round(truth.shape[1] * scale)), max(1, round(truth.shape[0] * scale))
    photo = np.asarray(Image.fromarray(image).resize(shown_wh, Image.Resampling.LANCZOS))
    true, found = _resized(truth, shown_wh), _resized(given, shown_wh)
    colours = label_colours(category_count)
    with_truth = tint(photo, true, colours)
    with_truth[true == UNKNOWN] = _mixed(with_truth[true == UNKNOWN], _UNKNOWN, 0.8)
    grey = np.repeat(photo.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    is_wrong = (true != UNKNOWN) & (true != found)
    grey[is_wrong] = _mixed(grey[is_wrong], _WRONG, 0.6)
    if region is not None:
        mask = _resized(region.astype(np.int32), shown_wh) > 0
        grey[ndimage.binary_dilation(mask, iterations=2) & ~mask] = _MARK
    return ExamplePictures(_jpeg(with_truth), _jpeg(tint(photo, found, colours)), _jpeg(grey))


def _resized(labels: NDArray[np.int32], shown_wh: tuple[int, int]) -> NDArray[np.int32]:
    return np.asarray(Image.fromarray(labels).resize(shown_wh, Image.Resampling.NEAREST), dtype=np.int32)


def _mixed(pixels: NDArray[np.uint8], colour: tuple[int, int, int], opacity: float) -> NDArray[np.uint8]:
    return (pixels * (1 - opacity) + np.array(colour) * opacity).astype(np.uint8)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, format="JPEG", quality=_QUALITY)
    return target.getvalue()
