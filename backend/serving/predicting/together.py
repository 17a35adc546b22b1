"""Images that are segmented at once: on a device with the option ``together`` their windows share batches.

`segment_group` takes a group of images that somebody chose. `Gathering` makes groups of what several threads ask for at
the same time. What an image becomes depends on its group in the last bits of its features alone. An error of one image
ends that image alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovdiff.engines import SegmentationEngine
from ovdiff.engines.segmenting import SegmentsTogether
from ovdiff.errors import DeviceMemoryError, ImageError
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Vocabulary

Found = Segmentation | Exception
"""An image's segmentation, or the error that concerns it alone."""

_ONE_IMAGE_ERRORS = (ImageError, DeviceMemoryError)

_log = logging.getLogger(__name__)


def images_together(engine: SegmentationEngine) -> int:
    """Return how many images an engine takes at once; 1 if it takes them one by one."""
    return engine.images_together if isinstance(engine, SegmentsTogether) else 1


def segment_group(
    images: Sequence[NDArray[np.uint8]],
    prepared: Sequence[Any] | None,
    vocabulary: Vocabulary,
    engine: SegmentationEngine,
) -> Iterator[Found]:
    """Yield the segmentations of images; of several at once, if the engine can, and one by one if that fails.

    Args:
        images: (H, W, 3) uint8 RGB each.
        prepared: what the engine prepared of each of them, if it did.
        vocabulary: the categories to look for.
        engine: the method.

    Raises:
        OVDiffError: the engine cannot segment at all.
    """
    if len(images) > 1 and isinstance(engine, SegmentsTogether):
        try:
            yield from engine.segment_together(images, vocabulary, prepared)
            return
        except _ONE_IMAGE_ERRORS as error:
            _log.warning("%d images at once failed (%s); going on one by one", len(images), error)
    for image in images:
        yield _segment_alone(image, vocabulary, engine)


def _segment_alone(image: NDArray[np.uint8], vocabulary: Vocabulary, engine: SegmentationEngine) -> Found:
    try:
        return engine.segment(image, vocabulary)
    except _ONE_IMAGE_ERRORS as error:
        return error


@dataclass
class _Asked:
    """An image that a thread wants segmented, what was prepared of it, and what was found as soon as it is."""

    image: NDArray[np.uint8]
    prepared: Any
    vocabulary: Vocabulary
    found: Segmentation | BaseException | None = None


class Gathering:
    """Segments images for several threads: what waits while a group is computed becomes the next group.

    Nobody waits for a group to fill up. With twice as many threads as the engine takes images at once, one half is
    computed while the other half fetches and decodes images or encodes masks.
    """

    def __init__(self, engine: SegmentationEngine) -> None:
        """Use an engine; one that takes images one by one is asked as without this class."""
        self._engine = engine
        self._waiting: list[_Asked] = []
        self._changing = threading.Lock()
        self._turn = threading.Lock()

    @property
    def threads(self) -> int:
        """How many threads keep the engine's groups full; 1 for an engine without groups."""
        together = images_together(self._engine)
        return 2 * together if together > 1 else 1

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        """Return the segmentation of an image (H, W, 3) uint8 RGB.

        Raises:
            OVDiffError: the image cannot be segmented, or the group in which it is.
        """
        engine = self._engine
        if not isinstance(engine, SegmentsTogether) or engine.images_together == 1:
            return self._engine.segment(image, vocabulary)
        asked = _Asked(image, engine.prepared(image, keep=True), vocabulary)  # as `segment` keeps what it encodes
        with self._changing:
            self._waiting.append(asked)
        with self._turn:
            while asked.found is None:  # else the thread that had the turn before did it
                self._segment_next(engine.images_together)
        try:
            if isinstance(asked.found, BaseException):
                raise copy(asked.found) from asked.found  # its own: each thread that raises adds to the traceback
            return asked.found
        finally:
            del asked  # the error's traceback holds this frame, which would hold the error and the pixels

    def _segment_next(self, most: int) -> None:
        """Segment the images that have waited longest, of one vocabulary."""
        with self._changing:
            vocabulary = self._waiting[0].vocabulary
            group = [each for each in self._waiting if each.vocabulary == vocabulary][:most]
            chosen = set(map(id, group))
            self._waiting = [each for each in self._waiting if id(each) not in chosen]
        try:
            images, prepared = [each.image for each in group], [each.prepared for each in group]
            for each, found in zip(group, segment_group(images, prepared, vocabulary, self._engine), strict=True):
                each.found = found
        except BaseException as error:  # noqa: BLE001 — raised in the threads that wait for these images
            for each in group:
                each.found = each.found or error
        finally:
            del each, group, images, prepared  # as in `segment`: the error that each holds would hold it
