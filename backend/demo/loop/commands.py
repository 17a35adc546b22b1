"""Commands of ``ovdiff`` that the loop runs to their end."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from backend.demo.errors import ServerError, log_tail
from backend.demo.processes import Child, ProcessGroups

_POLL_S = 0.2


def run_command(command: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> None:
    """Run a command to its end.

    Raises:
        ServerError: the command failed; the message ends with the end of its log.
    """
    with ProcessGroups() as groups:
        wait_for(groups.start(f"`ovdiff {command[1]}`", command, environment, log))


def wait_for(child: Child) -> None:
    """Wait until a child has done its work.

    Raises:
        ServerError: it failed; the message ends with the end of its log.
    """
    while child.process.poll() is None:
        time.sleep(_POLL_S)
    if child.process.returncode:
        raise ServerError(f"{child.name} exited with status {child.process.returncode}.\n{log_tail(child.log_path)}")
