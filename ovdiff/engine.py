"""The engine: prototype sets made once a category, masks made once an image."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.presets import Preset
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary

Progress = Callable[[str, float], None]
"""Called with a stage ("generating", "extracting", "clustering", "saving") and the fraction done, 0 to 1."""


class Engine:
    """The method on loaded models. Weights load when first needed, once; safe for several threads."""

    def __init__(self, preset: Preset, bank: Bank, *, device: str = "cpu") -> None:
        """Prepare without loading anything."""
        self.preset, self.bank, self.device = preset, bank, device

    def prototype_key(self, category: Category) -> str:
        """Return the content address of the category's prototype set; loads no model."""
        raise NotImplementedError

    def has(self, category: Category) -> bool:
        """Say whether the bank holds the category's prototypes, undamaged."""
        return self.bank.has(self.prototype_key(category))

    def build(self, category: Category, progress: Progress | None = None) -> None:
        """Make and store the category's prototypes, unless the bank has them."""
        raise NotImplementedError

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        """Label every pixel of an image."""
        raise NotImplementedError
