"""The images of a run, segmented in their order: what a folder and a manifest share.

Images are fetched, decoded and, as far as the engine says, prepared ahead in threads. The engine is given as many at
once as it takes, in the caller's thread. What follows is done behind (:mod:`backend.command.overlap`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from backend.command.one_image import IMAGE_ERRORS
from backend.command.overlap import Begun, ahead, begin_ahead, grouped
from backend.serving.predicting.together import Found, images_together, segment_group
from ovdiff.engines import SegmentationEngine, SegmentsTogether
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
    """

    fetch: Callable[[Item], bytes | None]
    decode: Callable[[Item, bytes], NDArray[np.uint8]]
    fetched: int


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

    def load(begun: Begun[Item, bytes | None]) -> _Loaded | None:
        data = begun.outcome().take()
        if data is None:
            return None
        image = reading.decode(begun.item, data)
        prepared = engine.prepared(image) if together > 1 and isinstance(engine, SegmentsTogether) else None
        return _Loaded(image, prepared)

    over = threading.Event()
    fetching = begin_ahead(items, reading.fetch, most=reading.fetched, threads=_FETCHING, over=over)
    with closing(fetching), closing(ahead(fetching, load, most=together, over=over)) as loading:
        for group in grouped(loading, together):
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


class _Loaded(NamedTuple):
    image: NDArray[np.uint8]
    prepared: Any
