"""The options of work on a Ray cluster.

Tested by tests/backend/command/test_ray.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from backend.command.arguments.shared import bank_of, whole_number
from backend.settings import Settings

if TYPE_CHECKING:
    from backend.command.on_ray import OnRay


def add_ray_options(parser: argparse.ArgumentParser, *, workers: bool = True) -> None:
    """Add where the cluster is, and how much of it the command takes.

    Args:
        parser: the command.
        workers: whether to add how many workers; a command that has an option for that already needs no other.
    """
    parser.add_argument(
        "--ray",
        metavar="auto|HOST:PORT|local",
        help="work on a Ray cluster: the one that was started on this machine, the one whose head is there, or one of "
        "this machine alone that ends with the command; bank and images must be where all machines see them "
        "(default: without Ray)",
    )
    if workers:
        parser.add_argument(
            "--ray-workers",
            type=whole_number,
            metavar="N",
            help="how many engines (default: one for each processor, or as many as fit on the GPUs by the preset's "
            "memory budget)",
        )
    parser.add_argument(
        "--ray-cpus",
        type=_amount,
        metavar="N",
        help="processors of each engine, and so its threads; masks of other numbers of threads differ in a handful of "
        "pixels (default: 1)",
    )
    parser.add_argument(
        "--ray-gpus",
        type=_amount,
        metavar="SHARE",
        help="GPUs of each engine with --device cuda, such as 0.25 (default: by the preset's memory budget)",
    )


@contextmanager
def ray_of(options: argparse.Namespace, settings: Settings) -> Iterator[OnRay | None]:
    """Connect to the cluster that the options name for the time of a block; ``None`` if they name none."""
    if options.ray is None:
        yield None
        return
    from backend.command.on_ray import on_ray
    from ovdiff.distributed.placement import Wish

    workers = options.ray_workers if "ray_workers" in options else options.workers
    wish = Wish(workers, options.ray_cpus, options.ray_gpus)
    with on_ray(options.ray, wish, bank_of(options, settings), options.device or settings.device) as found:
        yield found


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = 0.0
    if not 0 < amount < 1e6:
        raise argparse.ArgumentTypeError(f"expected a number above 0, such as 1 or 0.25, got {text!r:.60}")
    return amount
