"""The option of a command that segments in several processes of this machine.

Tested by tests/backend/command/test_on_processes.py.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from backend.command.arguments.shared import bank_of, whole_number
from backend.errors import UsageError
from backend.settings import Settings

if TYPE_CHECKING:
    from backend.command.on_processes import OnProcesses


def add_workers_option(parser: argparse.ArgumentParser) -> None:
    """Add how many processes segment."""
    parser.add_argument(
        "--workers",
        type=whole_number,
        metavar="N",
        help="processes that segment, each with models of its own and one thread; for many images on a CPU as many as "
        "it has cores, if memory allows (default: this process alone, with torch's number of threads)",
    )


def processes_of(options: argparse.Namespace, settings: Settings, images: int | None = None) -> OnProcesses | None:
    """Return the processes that the option asks for; ``None`` where this process does the work.

    Args:
        options: the command's.
        settings: those in force.
        images: how many images there are, if that is known; more processes than that are of no use.

    Raises:
        UsageError: the work is to be done on a Ray cluster.
    """
    if options.workers is not None and options.ray is not None:
        raise UsageError(
            f"--workers {options.workers} are processes of this machine, and --ray {options.ray} has engines of its "
            "own. Leave one of them out, or say how many engines with --ray-workers."
        )
    count = options.workers or 1
    if images is not None:
        count = min(count, images)
    if count <= 1:
        return None
    from backend.command.on_processes import OnProcesses

    return OnProcesses(count, bank_of(options, settings), options.device or settings.device)
