"""What the service needs of the method, as protocols: `ovdiff.engine.Engine`, or a quick stand-in in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary


class Fingerprinted(Protocol):
    """Something with a content hash."""

    def fingerprint(self) -> str:
        """Return a hex hash of its content."""
        ...


class Builder(Protocol):
    """The half that makes prototypes, once a category."""

    def prototype_key(self, category: Category) -> str:
        """Return the content address of the category's prototypes; cheap, loads no model."""
        ...

    def has(self, category: Category) -> bool:
        """Return whether the bank has them."""
        ...

    def build(self, category: Category, progress: Callable[[str, float], None] | None = None) -> None:
        """Make and store them, reporting stages and fractions from 0 to 1."""
        ...


class Engine(Builder, Protocol):
    """Both halves. Threads may share it."""

    @property
    def preset(self) -> Fingerprinted:
        """The models and hyper-parameters in use."""
        ...

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        """Return the segmentation of an (H, W, 3) uint8 RGB image; every category must be in the bank."""
        ...
