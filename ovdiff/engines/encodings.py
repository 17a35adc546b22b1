"""What some engines can do with an image that they encoded once: look again, with other words or at one place.

tests/ovdiff/engines/test_capabilities.py tells which engines can do what.
"""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ovdiff.explaining.explanation import Explanation, Where
from ovdiff.novelties.groups import NovelRegion
from ovdiff.segmentation import PlaceScores, Segmentation
from ovdiff.vocabulary import Vocabulary


@runtime_checkable
class HasEncodings(Protocol):
    """An engine whose work on an image does not depend on the words, so that it is done once for many vocabularies."""

    def encode(self, image: NDArray[np.uint8]) -> Any:
        """Return what the models make of an (H, W, 3) uint8 RGB image; it may be kept from an earlier call.

        Raises:
            OVDiffError: the image cannot be encoded.
        """
        ...

    def encoding_key(self) -> str:
        """Return a hash of everything that shapes an encoding, but the image: engines of one hash share encodings."""
        ...

    def label(self, encoded: Any, vocabulary: Vocabulary) -> Segmentation:
        """Return the segmentation of an encoded image; every category must be prepared.

        Raises:
            MissingPrototypesError: some categories must be prepared first; the message names them.
        """
        ...


@runtime_checkable
class Prefilters(HasEncodings, Protocol):
    """An engine that looks for those categories alone that an image is likely to show."""

    def candidates(self, encoded: Any, vocabulary: Vocabulary) -> tuple[int, ...]:
        """Return the indices of the categories that are looked for in an encoded image, ascending.

        Raises:
            OVDiffError: a model cannot be loaded.
        """
        ...


@runtime_checkable
class FindsNovelties(HasEncodings, Protocol):
    """An engine that finds regions of an image that show none of the asked words."""

    def novel_regions(self, encoded: Any, vocabulary: Vocabulary) -> tuple[NovelRegion, ...]:
        """Return the regions of an encoded image that show none of a vocabulary's words, the most novel first.

        Raises:
            OVDiffError: prototypes are missing, or a model cannot be loaded.
        """
        ...


@runtime_checkable
class Explains(HasEncodings, Protocol):
    """An engine that can say why a place of an image has its label."""

    def explain(self, encoded: Any, vocabulary: Vocabulary, where: Where) -> Explanation:
        """Say why a place of an encoded image has its label; every category must be prepared.

        Raises:
            MissingPrototypesError: some categories must be prepared first; the message names them.
            ImageError: the pixel lies outside the image, or the mask is empty or of another size.
            OVDiffError: the image cannot be segmented for another reason.
        """
        ...


@runtime_checkable
class ScoresPlaces(HasEncodings, Protocol):
    """An engine that can say how strongly each word claims a pixel, if not why."""

    def place_scores(self, encoded: Any, vocabulary: Vocabulary, place: tuple[int, int]) -> PlaceScores:
        """Return the score of each category at a pixel (x, y) of an encoded image.

        Raises:
            ImageError: the pixel lies outside the image.
            OVDiffError: the words cannot be compared with the image for another reason.
        """
        ...
