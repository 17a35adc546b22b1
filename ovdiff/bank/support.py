"""The support images of a category with their masks, from which its prototypes are made. Never imports torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SupportImage:
    """One generated image of a category.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        attribution: (H, W) float32 in [0, 1].
        foreground: (H, W) bool, F of Eq. 1.
        background: (H, W) bool, B of Eq. 1; disjoint from the foreground, may be empty.
        seed: the seed of the noise from which the image was drawn.
        prompt: the whole text from which the image was drawn.
    """

    image: NDArray[np.uint8]
    attribution: NDArray[np.float32]
    foreground: NDArray[np.bool_]
    background: NDArray[np.bool_]
    seed: int = 0
    prompt: str = ""


@dataclass(frozen=True)
class SupportSet:
    """All support images of a category, in the order of their numbers.

    Attributes:
        images: the images that were not left out as unsafe.
        refused: how many drawings were refused as unsafe.
    """

    images: tuple[SupportImage, ...]
    refused: int = 0

    def with_foreground(self) -> int:
        """Return how many images show the category; the others give no prototypes."""
        return sum(bool(image.foreground.any()) for image in self.images)
