"""The images of a run, segmented in their order: what a folder and a manifest share.

Images are fetched, decoded and, as far as the engine says, prepared ahead in threads. The engine is given as many at
once as it takes, in the caller's thread. What follows is done behind (:mod:`backend.command.overlap`).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from backend.command.one_image import IMAGE_ERRORS
from backend.command.overlap import Begun, Outcome, begin_ahead, grouped, outcomes
from backend.errors import ImageSourceError
from backend.serving.predicting.together import Found, images_together, segment_group
from backend.settings import ImageSettings
from backend.sources.images import count_px as picture_px
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.segmenting import SegmentsTogether
from ovdiff.vocabulary import Vocabulary

Item = TypeVar("Item")

_FETCHING = 8  # images on their way at once


@dataclass(frozen=True)
class Reading(Generic[Item]):
    """How the images of a run are read; threads ask.

    Attributes:
        fetch: brings the bytes of an item's image; None for an item without one.
        decode: makes them an image, (H, W, 3) uint8 RGB.
        fetched: so many images at most are fetched, or on their way, before their turn to be decoded comes.
        px_at_once: so many pixels at most are decoded ahead, and as many are segmented at once; or one larger image.
    """

    fetch: Callable[[Item], bytes | None]
    decode: Callable[[Item, bytes], NDArray[np.uint8]]
    fetched: int
    px_at_once: int = ImageSettings.pixels_at_once


def segmented(
    items: Iterable[Item], reading: Reading[Item], vocabulary: Vocabulary, engine: SegmentationEngine
) -> Generator[tuple[Item, NDArray[np.uint8] | None, Found | None]]:
    """Yield each item in order with its image and segmentation.

    An error that concerns one image alone comes in place of its segmentation, without the image if there is none. Of an
    item without an image both are None.

    Raises:
        OVDiffError: the engine cannot segment at all.
    """
    together = images_together(engine)

    def load(begun: Begun[Item, _Arrived | None]) -> _Loaded | None:
        arrived = begun.outcome().take()
        if arrived is None:
            return None
        image = reading.decode(begun.item, arrived.taken())
        prepared = engine.prepared(image) if together > 1 and isinstance(engine, SegmentsTogether) else None
        return _Loaded(image, prepared)

    def may_load(images: Sequence[Begun[Item, _Arrived | None]]) -> bool:
        """Return whether images have arrived and fit into memory: nobody waits for a late one while others are here."""
        if not all(each.future.done() for each in images):
            return False
        arrived = [each.outcome().made for each in images]
        return sum(each.px for each in arrived if each is not None) <= reading.px_at_once

    def fit(group: Sequence[Outcome[Begun[Item, _Arrived | None], _Loaded | None]]) -> bool:
        return sum(count_px(each.made.image) for each in group if each.made is not None) <= reading.px_at_once

    over = threading.Event()
    fetching = begin_ahead(items, partial(_arrived, reading), most=reading.fetched, threads=_FETCHING, over=over)
    loading = begin_ahead(fetching, load, most=together, over=over, fits=may_load)
    with closing(fetching), closing(outcomes(loading)) as all_loaded:
        for group in grouped(all_loaded, together, fit):
            loaded = [outcome.made for outcome in group if outcome.made is not None]
            prepared = [each.prepared for each in loaded] if together > 1 else None
            found = segment_group([each.image for each in loaded], prepared, vocabulary, engine)
            for outcome in group:
                item, made, error = outcome.item.item, outcome.made, outcome.error
                if made is not None:
                    yield item, made.image, next(found)
                elif error is None or isinstance(error, IMAGE_ERRORS):
                    yield item, None, error
                else:
                    outcome.take()


def count_px(image: NDArray[np.uint8]) -> int:
    """Return how many pixels an image (H, W, 3) has."""
    return image.shape[0] * image.shape[1]


@dataclass
class _Arrived:
    """The bytes of an image until they are decoded, and how many pixels it has; 0 if that is not to be known."""

    data: bytes
    px: int

    def taken(self) -> bytes:
        """Return the bytes, and keep them no longer: whoever yields this item later would hold them until then."""
        data, self.data = self.data, b""
        return data


def _arrived(reading: Reading[Item], item: Item) -> _Arrived | None:
    data = reading.fetch(item)
    if data is None:
        return None
    try:
        return _Arrived(data, picture_px(data, max_px=sys.maxsize))
    except ImageSourceError:  # which `decode` will raise
        return _Arrived(data, 0)


class _Loaded(NamedTuple):
    image: NDArray[np.uint8]
    prepared: Any
