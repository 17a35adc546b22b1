"""What every engine can do, and what its preset says. tests/ovdiff/engines/test_capabilities.py holds engines to it."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary

Progress = Callable[[str, float], None]
"""Called with the name of a stage and the fraction done, 0 to 1."""


class EnginePreset(Protocol):
    """The preset of an engine: a frozen dataclass; its fields are declared by :func:`ovdiff.presets.fields.setting`."""

    @property
    def name(self) -> str:
        """The preset's own name."""
        ...

    @property
    def engine(self) -> str:
        """The name of the preset's engine, as in :data:`ovdiff.engines.registry.ENGINES`."""
        ...


@runtime_checkable
class WithoutBackground(Protocol):
    """The preset of some engines, which can be told to give every pixel a category."""

    def without_background(self) -> EnginePreset:
        """Return the preset with which no pixel is background, as datasets want it that have none."""
        ...


@runtime_checkable
class Builder(Protocol):
    """The half of an engine that prepares categories, each once."""

    def category_key(self, category: Category) -> str:
        """Return the content address of the data that the engine prepares for a category. It is cheap: no model loads.

        Raises:
            OVDiffError: a model's files are missing.
        """
        ...

    def has(self, category: Category) -> bool:
        """Say whether the category is prepared, so that an image can be segmented with it."""
        ...

    def build(self, category: Category, progress: Progress | None = None) -> None:
        """Prepare a category unless it is prepared already, and report the stage and the fraction done.

        Raises:
            OVDiffError: the category cannot be prepared; the message says why.
        """
        ...


@runtime_checkable
class SegmentationEngine(Builder, Protocol):
    """The methods that every engine has. Several threads may share an engine."""

    @property
    def preset(self) -> EnginePreset:
        """The preset from which the engine was made."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of the weights and hyper-parameters, which with the prepared categories decide the masks."""
        ...

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        """Return the segmentation of an (H, W, 3) uint8 RGB image; every category must be prepared.

        Raises:
            MissingPrototypesError: some categories must be prepared first; the message names them.
            OVDiffError: the image cannot be segmented for another reason.
        """
        ...
