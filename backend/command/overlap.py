"""What comes before and after the models' work, done beside it: images are read ahead, and results are finished behind.

::

    fetch, decode  -->  [bounded]  -->  models, in the caller's thread  -->  [bounded]  -->  masks' encoding, pictures
       threads                                                                                     one thread

All keeps the order of the items, so that a run writes the same bytes as one that does one thing after another.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from types import TracebackType
from typing import Generic, NamedTuple, Self, TypeVar, cast

from converters.workers import thread_pool
from ovdiff.storage.patience import context_until

Item = TypeVar("Item")
Made = TypeVar("Made")

THREADS = 4
"""That read ahead: a JPEG of 12 megapixels takes 80 ms to decode, and a storage far away longer to answer."""


def any_number(_items: object) -> bool:
    """Say that any items fit into memory together."""
    return True


class Outcome(NamedTuple, Generic[Item, Made]):
    """An item with what was made of it, or with the error that came in place of that."""

    item: Item
    made: Made | None
    error: BaseException | None

    def take(self) -> Made:
        """Return what was made, or raise the error."""
        if self.error is not None:
            raise self.error
        return cast(Made, self.made)


def begin_ahead(
    items: Iterable[Item],
    make: Callable[[Item], Made],
    *,
    most: int,
    threads: int = THREADS,
    over: threading.Event | None = None,
    fits: Callable[[Sequence[Item]], bool] = any_number,
) -> Generator[Begun[Item, Made]]:
    """Yield items in their order, each begun and perhaps not done; up to ``most`` further items are begun meanwhile.

    An error of ``items`` itself comes after the items before it. When it is closed early, or by Ctrl-C, nothing more is
    begun, no storage that is away is asked again, and none that does not answer is waited for.

    Args:
        items: what is worked on.
        make: what is done with each, in a thread.
        most: how many are begun before they are asked for.
        threads: how many threads work.
        over: is set then. Two of which one takes its items from the other share it, for their threads wait for one
            another.
        fits: whether items fit into memory at once; no more are begun and not yet asked for, but for one alone.
    """
    over = over or threading.Event()
    waiting: deque[Begun[Item, Made]] = deque()
    left = iter(items)
    with thread_pool(min(threads, max(1, most)), "ovdiff-ahead") as pool:
        try:
            try:
                for item in left:
                    while waiting and not fits([*(begun.item for begun in waiting), item]):
                        yield waiting.popleft()
                    waiting.append(Begun(item, pool.submit(context_until(over).run, _made, over, make, item)))
                    if len(waiting) > most:
                        yield waiting.popleft()
            except Exception:
                yield from _emptied(waiting)
                raise
            yield from _emptied(waiting)
        except (GeneratorExit, KeyboardInterrupt, SystemExit):  # Nobody asks for what is on its way.
            over.set()
            raise
        finally:
            for begun in waiting:
                begun.future.cancel()


def _made(over: threading.Event, make: Callable[[Item], Made], item: Item) -> Made:
    if over.is_set():
        raise CancelledError
    return make(item)


class Begun(NamedTuple, Generic[Item, Made]):
    """An item of which something is being made."""

    item: Item
    future: Future[Made]

    def outcome(self) -> Outcome[Item, Made]:
        """Wait until it is done."""
        error = self.future.exception()
        return Outcome(self.item, None if error is not None else self.future.result(), error)


def outcomes(all_begun: Generator[Begun[Item, Made]]) -> Generator[Outcome[Item, Made]]:
    """Yield the outcomes of items that `begin_ahead` begins, waiting for each; it is closed with this generator."""
    with closing(all_begun):
        for begun in all_begun:
            yield begun.outcome()


def grouped(
    items: Iterable[Item], size: int, fits: Callable[[Sequence[Item]], bool] = any_number
) -> Iterator[Sequence[Item]]:
    """Yield items in lists of ``size``; shorter are the last one, and those before an item that does not fit beside."""
    group: list[Item] = []
    for item in items:
        if group and not fits([*group, item]):
            yield group
            group = []
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


class Behind:
    """Does work in a thread of its own, in the order in which it is given, inside a ``with`` block.

    At the end of the block all of it is done. An error of the work is raised by the next :meth:`do`, or at the end of
    the block; nothing is done after it.
    """

    def __init__(self, most: int) -> None:
        """Begin nothing; whoever gives work waits while ``most`` pieces are not done."""
        self._room = threading.Semaphore(most)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ovdiff-behind")
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        """Begin to take work."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for all work; raise its error unless the block ends with one of its own."""
        self._pool.shutdown(wait=True)
        if error is None:
            self._raise()

    def do(self, work: Callable[[], object]) -> None:
        """Take a piece of work, as soon as there is room."""
        self._room.acquire()
        try:
            self._raise()
        except BaseException:
            self._room.release()
            raise
        self._pool.submit(copy_context().run, self._run, work)

    def _run(self, work: Callable[[], object]) -> None:
        try:
            if self._error is None:
                work()
        except BaseException as error:  # noqa: BLE001 — raised where the work was given
            self._error = error
        finally:
            self._room.release()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


def _emptied(waiting: deque[Begun[Item, Made]]) -> Iterator[Begun[Item, Made]]:
    while waiting:
        yield waiting.popleft()
