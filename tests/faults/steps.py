"""What a process does to files is stopped at each of its steps, by a kill or by a disk that is full.

A step is a file that is opened to be written, a name that is given or taken, or a file that is put on the disk. Python
tells of the first two by its audit events; the last is counted in `os.fsync`. A process that is killed is a fork of
this one, and SIGKILL leaves it no time to tidy up.
"""

import errno
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from backend.errors import BackendError
from converters.errors import ConverterError
from ovdiff.errors import OVDiffError

Act = Callable[[], object]
ERRORS = (OSError, ConverterError, OVDiffError, BackendError)
MOST_STEPS = 200
_GIVEN = ("os.rename", "os.mkdir", "os.link", "os.symlink", "os.truncate")
_TAKEN = ("os.remove", "os.rmdir")


@dataclass(frozen=True)
class Stopped:
    """How an act ended that was stopped at one of its steps.

    Attributes:
        step: the number of the step, from 1; 0 where it is not known.
        error: what was raised; None if nothing was.
    """

    step: int
    error: Exception | None = None


class _Steps:
    """Counts the steps of this process while it is told to, and stops it from one of them on."""

    def __init__(self) -> None:
        self.begun, self.stop_at = 0, 0
        self.stop: Callable[[], None] | None = None
        self.events: tuple[str, ...] = ()

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.stop is not None and (event in self.events or (event == "open" and _writes(*arguments))):
            self.begin()

    def begin(self) -> None:
        self.begun += 1
        if self.stop is not None and self.begun >= self.stop_at:
            self.stop()


def killed_at_each_step(act: Act) -> Iterator[Stopped]:
    """Run an act in one process after another; the n-th is killed as it begins its n-th step."""
    for step in range(1, MOST_STEPS):
        child = os.fork()
        if not child:
            with _stopping(step, lambda: os.kill(os.getpid(), signal.SIGKILL), (*_GIVEN, *_TAKEN)):
                act()
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 0:
            return
        assert status == -signal.SIGKILL
        yield Stopped(step)
    raise AssertionError(f"more than {MOST_STEPS} steps")


def without_room_at_each_step(act: Act) -> Iterator[Stopped]:
    """Run an act again and again; the n-th time the disk is full from the n-th step on."""
    for step in range(1, MOST_STEPS):
        error: Exception | None = None
        with _stopping(step, _full, _GIVEN) as steps:
            try:
                act()
            except ERRORS as raised:
                error = raised
        if steps.begun < step:
            return
        yield Stopped(step, error)
    raise AssertionError(f"more than {MOST_STEPS} steps")


def without_room_in_a_file(act: Act, most_bytes: int) -> Stopped:
    """Run an act while the system lets no file grow beyond so many bytes: files end in the middle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        act()
    except ERRORS as error:
        return Stopped(0, error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    return Stopped(0)


_STEPS: list[_Steps] = []


@contextmanager
def _stopping(step: int, stop: Callable[[], None], events: tuple[str, ...]) -> Iterator[_Steps]:
    """Count steps, and call ``stop`` from the given one on."""
    if not _STEPS:  # an audit hook stays for as long as the process
        _STEPS.append(_Steps())
        sys.addaudithook(_STEPS[0].hear)
    steps, sync = _STEPS[0], os.fsync

    def synced(handle: Any) -> None:
        steps.begin()
        sync(handle)

    steps.begun, steps.stop_at, steps.events, steps.stop = 0, step, events, stop
    os.fsync = synced
    try:
        yield steps
    finally:
        steps.stop, os.fsync = None, sync


def _full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _writes(path: object, mode: object, flags: object) -> bool:
    if not isinstance(path, str | bytes) or path == os.devnull:
        return False
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
