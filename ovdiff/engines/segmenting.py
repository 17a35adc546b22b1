"""What some engines can do with images, besides segmenting one.

tests/ovdiff/engines/test_capabilities.py tells which engines can do what.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.engines.contract import SegmentationEngine
from ovdiff.segmentation import FoundObject, Segmentation
from ovdiff.vocabulary import Vocabulary


@runtime_checkable
class SegmentsTogether(Protocol):
    """An engine whose work on an image has parts that no model does, and that can take several images at once."""

    @property
    def images_together(self) -> int:
        """How many images to segment at once, 1 or more."""
        ...

    def prepared(self, image: NDArray[np.uint8], *, keep: bool = False) -> Any:
        """Return what the engine first makes of an (H, W, 3) uint8 RGB image; no model runs, any thread may ask.

        With ``keep`` what `segment_together` makes of the image without words is kept, as `segment` keeps it.
        """
        ...

    def segment_together(
        self, images: Sequence[NDArray[np.uint8]], vocabulary: Vocabulary, prepared: Sequence[Any] | None = None
    ) -> list[Segmentation]:
        """Return the segmentations of several images, with what `prepared` made of each, if it was asked.

        Raises:
            OVDiffError: one of the images cannot be segmented.
        """
        ...


@runtime_checkable
class FindsInstances(Protocol):
    """An engine that tells objects of one kind apart."""

    def with_instances(
        self, image: NDArray[np.uint8], segmentation: Segmentation, vocabulary: Vocabulary
    ) -> Segmentation:
        """Return the segmentation of an (H, W, 3) uint8 RGB image with its ``instance_map``.

        Raises:
            OVDiffError: a model that this needs cannot be loaded.
        """
        ...


@runtime_checkable
class DetectsObjects(Protocol):
    """An engine that finds objects which may overlap, as average precision wants them."""

    def detections(self, encoded: Any, vocabulary: Vocabulary) -> Sequence[FoundObject]:
        """Return the things in an encoded image, the surest first.

        Raises:
            OVDiffError: a model that this needs cannot be loaded.
        """
        ...


@runtime_checkable
class LoadsModels(Protocol):
    """An engine whose models can be loaded before they are needed."""

    def load_models(self) -> None:
        """Load the models that segment an image, unless they are loaded; this may take minutes.

        Raises:
            OVDiffError: a model cannot be loaded; the message says why.
        """
        ...


@runtime_checkable
class SharesModels(Protocol):
    """An engine beside which another one can be made that uses the models that this one has loaded."""

    def beside(self, preset: Any, bank: Bank) -> SegmentationEngine:
        """Return an engine of the same kind with another preset or bank, on the same loaded models."""
        ...
