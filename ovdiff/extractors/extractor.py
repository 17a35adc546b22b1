"""What an extractor is, and for what it may be asked. Apart from the table of extractors, whose files import this."""

from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Purpose = Literal["support", "window"]
"""Support images and windows of a target image may be encoded at different sizes."""


class Extractor(Protocol):
    """Encodes images densely. Deterministic: equal images give equal features, in any batch."""

    def extract(self, images: NDArray[np.uint8], purpose: Purpose) -> "Tensor":
        """Return raw features (B, D, h, w) float32 of images (B, H, W, 3) uint8 RGB."""
        ...
