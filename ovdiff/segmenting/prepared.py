"""What is made of an image before a model sees it. No lock is held meanwhile, and any thread may do it.

Tested by tests/ovdiff/segmenting/test_encoding.py, and through the engine by tests/ovdiff/engine/test_engine.py.
"""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.images import image_key, require_image
from ovdiff.models.device_images import beside, can_resize, resize_lanczos, to_device
from ovdiff.presets.segmenting_settings import WindowSettings
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.segmenting.windows import resize_to_working, working_size_hw

_MOST_ON_DEVICE_PX = 32 << 20  # a larger image is resized on the CPU; one of so many takes less than half a GiB there

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """An image that is ready to be encoded.

    Attributes:
        working: (h, w, 3) uint8 RGB, the image at working size.
        there: the same on the device, if the device's option ``device_images`` is on and there is room.
        key: the image's content address, under which its encoding is looked up and kept; "" if it is not.
    """

    working: NDArray[np.uint8]
    there: Tensor | None = None
    key: str = ""


def prepare(parts: SegmentingParts, image: NDArray[np.uint8], *, keep: bool = False) -> Prepared:
    """Prepare an (H, W, 3) uint8 RGB image; with ``keep`` its encoding is looked up and kept.

    Raises:
        ImageError: ``image`` is not such an array.
    """
    require_image(image)
    key, models = image_key(image) if keep else "", parts.models
    if models.options.device_images:
        try:
            return Prepared(*_on_device(image, parts.preset.windows, models.device), key)
        except torch.OutOfMemoryError:
            _log.info("The device has no room for an image beside the models; it is prepared on the CPU.")
    return Prepared(resize_to_working(image, parts.preset.windows), key=key)


def _on_device(
    image: NDArray[np.uint8], settings: WindowSettings, device: torch.device
) -> tuple[NDArray[np.uint8], Tensor]:
    """Return an image at working size, here and on the device."""
    height, width = image.shape[:2]
    size_hw = working_size_hw(image.shape[:2], settings)
    with beside(device):
        if height * width <= _MOST_ON_DEVICE_PX and can_resize((height, width), size_hw):
            there = resize_lanczos(to_device(image, device), size_hw)
        else:
            there = to_device(resize_to_working(image, settings), device)
        return there.numpy(force=True), there  # waits until it is there
