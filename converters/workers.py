"""A function applied to many items by several processes, in order: the results are those of one process.

Each item and each result is pickled, some hundred items at most are under way, and the processes end with the caller:
with its last result, with its error, with Ctrl-C, and when it is killed. After Ctrl-C nobody waits long for a process
or a thread (`thread_pool`) that waits for a server.
"""

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from converters.errors import WorkersError

Item = TypeVar("Item")
Result = TypeVar("Result")

ENDING_S = 0.5
"""After Ctrl-C threads and processes have so long to end by themselves: one of them may be waiting for a server."""
_ITEMS_AT_ONCE = 4  # a message for each item would cost as much as a small item itself
_CHUNKS_AHEAD = 3  # for each worker; what is ahead is in memory


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item], workers: int = 1) -> Iterator[Result]:
    """Yield the function's result for each item, in the order of the items.

    Args:
        function: a function that can be pickled, as can its items and results.
        items: what it is applied to, read only a little ahead of the results.
        workers: how many processes apply it; 1 means this process.

    Raises:
        WorkersError: a worker ended before its work did.
    """
    if workers == 1:
        yield from map(function, items)
        return
    with worker_pool(workers) as pool:
        submit = partial(_submitted, pool, function)
        for _, results in in_order(submit, _chunks(items), workers * _CHUNKS_AHEAD):
            yield from results


class WorkerPool(ProcessPoolExecutor):
    """Processes that leave Ctrl-C to their caller and end with it.

    Attributes:
        workers: how many there are.
    """

    def __init__(self, workers: int, initializer: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
        """Start none yet; the arguments are those of :func:`worker_pool`."""
        # Not forked: the caller may have threads, whose locks a forked process would keep closed for ever.
        context = multiprocessing.get_context("spawn")
        super().__init__(workers, context, _begin, (initializer, given))
        self.workers = workers

    def submit(self, function: Callable[..., Result], /, *given: Any, **named: Any) -> "Future[Result]":
        """Have a function called by a process; the first call starts all processes."""
        with _interrupts_wait():
            return super().submit(function, *given, **named)

    def end(self) -> None:
        """End the processes, and those that are at work after a moment: what they do is nobody's any more."""
        working, ending = list((self._processes or {}).values()), _ending(self)
        try:
            ending.join(ENDING_S)
        finally:  # after another Ctrl-C, too
            if ending.is_alive():
                for process in working:
                    process.terminate()
            ending.join()


@contextmanager
def worker_pool(
    workers: int, initializer: Callable[..., None] | None = None, given: tuple[Any, ...] = ()
) -> Iterator[WorkerPool]:
    """Yield a pool of processes for the time of a block; calls that did not begin are given up with it.

    Args:
        workers: how many processes.
        initializer: makes a process ready; it can be pickled, as can its arguments. What it raises ends the pool with
            a traceback on stderr, so what may fail belongs into the calls.
        given: its arguments.

    Raises:
        WorkersError: a process ended before its work did.
    """
    pool = WorkerPool(workers, initializer, given)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise WorkersError(
            f"expected {workers} processes to finish their work, got one that ended before: most likely the memory was "
            "full; name fewer with --workers"
        ) from error
    except KeyboardInterrupt:
        pool.end()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def thread_pool(threads: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of threads for the time of a block. At its end all calls are waited for: somebody may want them.

    After an error in the block, calls that did not begin are given up, and those that did are waited for. After Ctrl-C,
    and where nobody takes their results any more, none is waited for: it may wait for a server.

    Args:
        threads: how many at most.
        name: what their names begin with.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        yield pool
    except (GeneratorExit, KeyboardInterrupt, SystemExit):
        _ending(pool).join(ENDING_S)
        raise
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def _ending(pool: Executor) -> threading.Thread:
    """Begin no call of a pool any more; return the thread that waits for its last ones."""
    ending = threading.Thread(target=partial(pool.shutdown, cancel_futures=True), name="ovdiff-ending", daemon=True)
    ending.start()
    return ending


def in_order(
    submit: Callable[[Item], "Future[Result]"], items: Iterable[Item], ahead: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, in the order of the items.

    Args:
        submit: gives an item to a pool: any executor's ``submit`` with a function.
        items: read only so far ahead of the results; those that were read are in memory, as are their results.
        ahead: so many items at most are under way or wait for an earlier one.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    try:
        for item in items:
            waiting.append((item, submit(item)))
            if len(waiting) >= ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


def as_done(
    submit: Callable[[Item], "Future[Result]"], items: Iterable[Item], ahead: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, as soon as it is done; the arguments are those of :func:`in_order`."""
    left = iter(items)
    waiting = {submit(item): item for item in islice(left, ahead)}
    try:
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                item = waiting.pop(future)
                yield item, future.result()
                waiting.update({submit(item): item for item in islice(left, 1)})
    finally:
        for future in waiting:
            future.cancel()


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while chunk := list(islice(rest, _ITEMS_AT_ONCE)):
        yield chunk


def _submitted(pool: WorkerPool, function: Callable[[Item], Result], chunk: list[Item]) -> Future[list[Result]]:
    """Give a chunk to a worker. A chunk that is nested too deeply to be pickled is done here.

    It is pickled here and not by the pool: what the pool cannot pickle makes it wait for ever at its end.
    """
    try:
        return pool.submit(_apply_pickled, pickle.dumps((function, chunk)))
    except RecursionError:
        done: Future[list[Result]] = Future()
        done.set_result(_apply(function, chunk))
        return done


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Let Ctrl-C wait while the pool starts a process.

    A process that was started and not yet noted by the pool would be waited for, for ever. The process itself is born
    with Ctrl-C held back, so it does not end with a traceback before `leave_with_caller`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else None
    try:
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _apply_pickled(work: bytes) -> list[Any]:
    function, chunk = pickle.loads(work)
    return _apply(function, chunk)


def _apply(function: Callable[[Item], Result], chunk: list[Item]) -> list[Result]:
    return [function(item) for item in chunk]


def _begin(initializer: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    leave_with_caller()
    if initializer is not None:
        initializer(*given)


def leave_with_caller() -> None:
    """Leave Ctrl-C to the caller of this process, and end the process when the caller is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.join,), daemon=True).start()


def _end_with(wait_for_caller: Callable[[], None]) -> None:
    wait_for_caller()
    os._exit(1)
