"""What an engine of a baseline asks of its method. A method holds models; it is used under the models' lock.

Tested by tests/ovdiff/baselines/test_engine.py.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class Method(Protocol):
    """A published method on loaded models."""

    def weights(self) -> dict[str, str]:
        """Return what identifies the weights of each model; loads none.

        Raises:
            WeightsError: a model's files are missing.
        """
        ...

    def load(self) -> None:
        """Load the models, unless they are loaded.

        Raises:
            WeightsError: a model cannot be loaded.
        """
        ...

    def encode(self, windows: NDArray[np.uint8]) -> tuple[Tensor, ...]:
        """Return what the image encoder makes of windows (B, H, W, 3) uint8: tensors (B, ...), without any word."""
        ...

    def maps(self, encoded: tuple[Tensor, ...], words: Sequence[str], size_hw: tuple[int, int]) -> Tensor:
        """Return the map of each word in each window, (B, W, h, w).

        Args:
            encoded: what :meth:`encode` returned, on the models' device.
            words: all words that compete.
            size_hw: the size of the windows in px.

        Raises:
            VocabularyError: a word is longer than the text encoder reads.
        """
        ...

    def threshold(self, maps: Tensor) -> float:
        """Return the score below which a pixel of an image with these maps (W, h, w) is background."""
        ...
