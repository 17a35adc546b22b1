"""Who does the work on rows: this process, which fetches the next images meanwhile, or engines elsewhere.

The functions are the same (`backend.command.manifest.making`), and so are the results, in the order of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from backend.command.manifest.making import Making, RowResult
from backend.command.manifest.rows import BadRow, Batch, Row
from converters.files.json_values import Json
from converters.workers import in_order
from ovdiff.distributed.engine_worker import use_engine
from ovdiff.distributed.pool import AHEAD
from ovdiff.engines import SegmentationEngine

if TYPE_CHECKING:
    from backend.command.on_processes import Segmenters

FETCHED_AHEAD = 16
"""So many images are on their way before their turn: at most 16 times OVDIFF_IMAGE_MAX_BYTES of memory."""
_THREADS = 8

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
    use_engine(engine)
    pool_of_threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="ovdiff-fetch")
    try:
        fetched = in_order(partial(_submitted, pool_of_threads, making.fetch), items, FETCHED_AHEAD)
        yield ((item, _finished(item, data, making)) for item, data in fetched)
    finally:
        pool_of_threads.shutdown(cancel_futures=True)


def _submitted(pool: Executor, function: Callable[[Row], _Made], item: Item) -> Future[_Made | BadRow | None]:
    """Give a row to a pool; what needs no work is done already."""
    if isinstance(item.row, Row):
        future: Any = pool.submit(function, item.row)
        return future
    done: Future[_Made | BadRow | None] = Future()
    done.set_result(item.row)
    return done


def _finished(item: Item, data: bytes | BadRow | None, making: Making) -> RowResult | BadRow | None:
    if not isinstance(item.row, Row) or data is None:
        return item.row if isinstance(item.row, BadRow) else None
    return making.encode(making.look(making.decode((item.row, data))))
