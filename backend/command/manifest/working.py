"""Who does the work on rows: this process, which fetches the next images meanwhile, or engines elsewhere.

The functions are the same (`backend.command.manifest.making`), and so are the results, in the order of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from backend.command.manifest.making import Making, RowResult, without_result
from backend.command.manifest.rows import BadRow, Batch, Row
from backend.command.overlap import begin_ahead, outcomes
from backend.command.segmented import Reading, count_px, segmented
from backend.serving.predicting.together import Found, images_together
from converters.files.json_values import Json
from converters.workers import in_order
from ovdiff.distributed.pool import AHEAD
from ovdiff.engines import SegmentationEngine

if TYPE_CHECKING:
    from backend.command.on_processes import Segmenters

FETCHED_AHEAD = 16
"""So many images are on their way before their turn: at most 16 times OVDIFF_IMAGE_MAX_BYTES of memory. Beside them are
those that are being decoded, at most one more than the engine takes at once."""

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Item:
    """A row that is to be worked on, or a shard that is kept.

    Attributes:
        batch: the rows of its shard.
        row: the row; None if the shard is kept.
        kept: the `info` of the shard, if it is kept.
    """

    batch: Batch
    row: Row | BadRow | None
    kept: Json | None = None


Results = Iterator[tuple[Item, RowResult | BadRow | None]]
"""Each item, in order, with what became of the row; None for a shard that is kept."""


@contextmanager
def working(
    items: Iterable[Item], making: Making, engine: SegmentationEngine, elsewhere: Segmenters | None = None
) -> Iterator[Results]:
    """Yield the results of items, which are read a little ahead; what did not begin is given up with the block.

    Args:
        items: the rows in order.
        making: what is done with each.
        engine: the engine of this process; those elsewhere are like it.
        elsewhere: a Ray cluster, or processes of this machine; None for this process.
    """
    if elsewhere is not None:
        with elsewhere.segmenters(engine) as pool:
            yield in_order(partial(_submitted, pool, making.stages), items, pool.workers * AHEAD)
        return
    fetch, decode = partial(_fetched, making), partial(_decoded, making)
    reading = Reading(fetch, decode, fetched=FETCHED_AHEAD, px_at_once=making.px_at_once)

    def fit(found: Sequence[tuple[Item, NDArray[np.uint8] | None, Found | None]]) -> bool:
        return sum(count_px(image) for _, image, _ in found if image is not None) <= making.px_at_once

    finish = partial(_finished, making, engine)
    with (
        closing(segmented(items, reading, making.vocabulary, engine)) as found,
        closing(outcomes(begin_ahead(found, finish, most=images_together(engine), threads=1, fits=fit))) as finished,
    ):
        yield ((outcome.item[0], outcome.take()) for outcome in finished)


def _submitted(pool: Executor, function: Callable[[Row], _Made], item: Item) -> Future[_Made | BadRow | None]:
    """Give a row to a pool; what needs no work is done already."""
    if isinstance(item.row, Row):
        future: Any = pool.submit(function, item.row)
        return future
    done: Future[_Made | BadRow | None] = Future()
    done.set_result(item.row)
    return done


def _fetched(making: Making, item: Item) -> bytes | None:
    return making.fetch(item.row) if isinstance(item.row, Row) else None


def _decoded(making: Making, item: Item, data: bytes) -> NDArray[np.uint8]:
    assert isinstance(item.row, Row), "what was fetched has a row"
    return making.decode(item.row, data)


def _finished(
    making: Making, engine: SegmentationEngine, found: tuple[Item, NDArray[np.uint8] | None, Found | None]
) -> RowResult | BadRow | None:
    """Return what becomes of an item, of what was found in its image."""
    item, image, segmentation = found
    if not isinstance(item.row, Row) or segmentation is None:
        return item.row if isinstance(item.row, BadRow) else None
    if image is None:
        assert isinstance(segmentation, Exception), "an image that is not there has an error"
        return without_result(item.row, segmentation)
    return making.encode(making.shown(item.row, image, segmentation, engine))
