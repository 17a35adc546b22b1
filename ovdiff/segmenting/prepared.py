"""What is made of an image before a model sees it. No lock is held meanwhile, and any thread may do it.

Tested by tests/ovdiff/segmenting/test_encoding.py, and through the engine by tests/ovdiff/test_engine.py.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovdiff.images import image_key, require_image
from ovdiff.presets.schema import WindowSettings
from ovdiff.segmenting.windows import resize_to_working


@dataclass(frozen=True)
class Prepared:
    """An image that is ready to be encoded.

    Attributes:
        working: (h, w, 3) uint8 RGB, the image at working size.
        key: the image's content address, under which its encoding is looked up and kept; "" if it is not.
    """

    working: NDArray[np.uint8]
    key: str = ""


def prepare(image: NDArray[np.uint8], settings: WindowSettings, *, keep: bool = False) -> Prepared:
    """Prepare an (H, W, 3) uint8 RGB image; with ``keep`` its encoding is looked up and kept.

    Raises:
        ImageError: ``image`` is not such an array.
    """
    require_image(image)
    return Prepared(resize_to_working(image, settings), image_key(image) if keep else "")
