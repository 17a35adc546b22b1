"""The support images of a category with their masks, from which its prototypes are made. Never imports torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SupportImage:
    """One image of a category: a drawn one, or an exemplar that a person gave.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        attribution: (H, W) float32 in [0, 1].
        foreground: (H, W) bool, F of Eq. 1.
        background: (H, W) bool, B of Eq. 1; disjoint from the foreground, may be empty.
        seed: the seed of the noise from which the image was drawn.
        prompt: the whole text from which the image was drawn.
        number: how people name the image within its category, from 0. Exemplars come after all drawn images.
        exemplar: the name of an exemplar, whose attribution is its mask; "" for a drawn image.
        address: the content address of an exemplar in the bank; "" for a drawn image.
    """

    image: NDArray[np.uint8]
    attribution: NDArray[np.float32]
    foreground: NDArray[np.bool_]
    background: NDArray[np.bool_]
    seed: int = 0
    prompt: str = ""
    number: int = 0
    exemplar: str = ""
    address: str = ""


@dataclass(frozen=True)
class SupportSet:
    """All support images of a category, in the order of their numbers.

    Attributes:
        images: the images from which prototypes are made: neither refused as unsafe, nor rejected by a person.
        refused: how many drawings were refused as unsafe.
        rejected: the images that a person left out; they are kept, and give no prototypes.
        reasons: why each of these was left out, by its number.
    """

    images: tuple[SupportImage, ...]
    refused: int = 0
    rejected: tuple[SupportImage, ...] = ()
    reasons: Mapping[int, str] = field(default_factory=dict)

    def with_foreground(self) -> int:
        """Return how many images show the category; the others give no prototypes."""
        return sum(bool(image.foreground.any()) for image in self.images)
