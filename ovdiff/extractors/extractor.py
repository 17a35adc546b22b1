"""The Protocol of an extractor. Never imports torch, so that a package may import it to add an extractor.

tests/ovdiff/extractors/test_extractors.py holds every extractor to it.
"""

from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Purpose = Literal["support", "window"]
"""What an image is encoded for: support images and windows of a target image may be encoded at different sizes."""


@runtime_checkable
class Extractor(Protocol):
    """Encodes images as dense feature maps. It is deterministic: equal images give equal features, in any batch."""

    def extract(self, images: NDArray[np.uint8], purpose: Purpose) -> "Tensor":
        """Return raw features (B, D, h, w) float32 of images (B, H, W, 3) uint8 RGB."""
        ...


@runtime_checkable
class TakesTensors(Protocol):
    """An extractor whose images may be a tensor on the device, too. Others are given arrays."""

    @property
    def takes_tensors(self) -> bool:
        """Whether they may."""
        ...
