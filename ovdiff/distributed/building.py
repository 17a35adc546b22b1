"""The left half on a cluster: categories are built side by side, each once, by workers that hold the models."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, wait

from ovdiff.distributed.engine_worker import build_category
from ovdiff.distributed.progress import RayBoard
from ovdiff.vocabulary import Category

Report = Callable[[Category, str, float], None]
"""Called with a category, the name of its stage and the fraction done."""

_LOOK_S = 0.5


def build_on(
    pool: Executor, board: RayBoard, categories: Sequence[Category], report: Report
) -> Iterator[tuple[Category, float | Exception]]:
    """Build categories on a pool, and yield each with its seconds or with the error that ended it, as it is done.

    Args:
        pool: its workers were made ready by :func:`ovdiff.distributed.engine_worker.start_engine`.
        board: where workers tell how far they are.
        categories: what to build.
        report: is told of stages.
    """
    waiting = {pool.submit(build_category, category, board): category for category in categories}
    try:
        while waiting:
            for future in wait(waiting, timeout=_LOOK_S, return_when=FIRST_COMPLETED).done:
                category = waiting.pop(future)
                error = future.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error
                yield category, future.result() if error is None else error
            for category, (stage, fraction) in board.stages().items():
                if category in waiting.values():
                    report(category, stage, fraction)
    finally:
        for future in waiting:
            future.cancel()
        for category in waiting.values():
            board.give_up(category)
