"""Leases: the right to do a piece of work alone, which ends by itself when its holder is gone.

::

    <folder>/<name>.lease    {"holder": "host, process 12", "token": "...", "count": 3, "lasts_s": 60, ...}

Whoever makes the file has the lease. A thread writes the file anew, with a higher count, three times within the time
that the lease lasts, and the file is deleted at the end. Who wants the lease meanwhile looks at the file now and then:
if it stayed the same for the whole time that it lasts, its holder is gone, and the lease is taken over by a conditional
replacement (`ovdiff.storage.conditional`), which only one of several succeeds in. No clocks of two machines are
compared: each watches the file by its own clock, and only as long as the storage answers, so that an outage ends no
lease. A holder on the same machine whose process has ended is seen at once.

A lease saves work: a holder that was suspended for longer than its lease lasts goes on beside its successor, and both
make the same files under the same content addresses. Where files are changed, a holder asks before each write whether
the lease is still its own (`Lease.require`).
"""

import json
import logging
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import cast

from ovdiff.errors import StorageError
from ovdiff.storage.conditional import Version, create, delete, read_version, replace, version_name
from ovdiff.storage.stored_path import StoredPath

LASTS_S = 60.0
"""How long a lease outlives a holder that is gone: longer than a machine is usually held up, shorter than a build."""
_LONGEST_LOOK_S = 2.0
_INTERRUPTED_S = 0.5
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeaseState:
    """What a lease's file says.

    Attributes:
        holder: who has it, for people.
        token: a random name of this holding.
        count: how often the holder has written it.
        lasts_s: for how many seconds it is the holder's without being written anew.
        process: the holder's process on its machine; "" if that has no such name.
    """

    holder: str
    token: str
    count: int
    lasts_s: float
    process: str = ""

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        return f"{json.dumps(asdict(self))}\n".encode()


class Lease:
    """A lease that this process has. A thread keeps it until `release`."""

    def __init__(self, path: Path, state: LeaseState, version: str) -> None:
        """Begin to keep a lease whose file was written just now."""
        self._asked_patiently, self._path = path, _impatient(path)
        self._state, self._version = state, version
        self._written_s = time.monotonic()
        self._lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="ovdiff-lease", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        """Whether another one has taken it over, because this process could not write it in time."""
        return self._lost

    def require(self) -> None:
        """Check, by the file, that the lease is still this process's.

        Raises:
            OSError: the folder of this machine cannot be read.
            StorageError: another one has it by now, or the storage is away for too long.
        """
        found = read_version(self._asked_patiently)
        if self._lost or found is None or _state_of(found.data).token != self._state.token:
            raise StorageError(
                f"{self._asked_patiently} belongs to {_holder_of(found)} by now, because this process could not write "
                "it in time. Nothing more is written; do the same again."
            )

    def release(self) -> None:
        """Let others have it. A storage that is away keeps the file, which then ends by itself.

        After Ctrl-C a storage that does not answer is waited for no longer than `_INTERRUPTED_S`.
        """
        self._ended.set()
        if isinstance(sys.exception(), KeyboardInterrupt):
            releasing = threading.Thread(target=self._release, name="ovdiff-lease", daemon=True)
            releasing.start()
            releasing.join(_INTERRUPTED_S)
        else:
            self._release()

    def _release(self) -> None:
        self._thread.join()
        try:
            if not isinstance(self._path, Path):
                self._write()  # The file may be another holder's by now; if not, nobody takes it over in this moment.
            if not self._lost:
                delete(self._path, self._version)
        except (OSError, StorageError) as error:
            _log.warning("The lease %s ends by itself after %g s: %s", self._path, self._state.lasts_s, error)

    def _keep(self) -> None:
        pause_s = every_s = self._state.lasts_s / 3
        while not self._ended.wait(pause_s):
            try:
                self._write()
                pause_s = every_s
            except (OSError, StorageError) as error:
                if pause_s == every_s:
                    _log.warning("The lease cannot be written and is tried again: %s", error)
                pause_s = every_s / 10
            if self._lost:
                _log.warning(
                    "The lease %s was taken over, for it was not written for %.0f s. The work goes on and may be done "
                    "twice; its result is the same.", self._path, time.monotonic() - self._written_s,
                )  # fmt: skip
                return

    def _write(self) -> None:
        began_s = time.monotonic()
        state = LeaseState(**{**vars(self._state), "count": self._state.count + 1})
        version = replace(self._path, state.to_bytes(), self._version)
        if version is None:  # Unless the answer to a put was lost, and the file is ours all the same.
            found = read_version(self._path)
            if found is None or _state_of(found.data).token != state.token:
                self._lost = True
                return
            version = found.name
        self._state, self._version, self._written_s = state, version, began_s


def _holder_of(found: Version | None) -> str:
    return "nobody" if found is None else _state_of(found.data).holder


def _impatient(path: Path) -> Path:
    """Return a path that is asked once: a lease tries again by itself, and nobody is to wait for its release."""
    if isinstance(path, Path):
        return path
    return cast(Path, StoredPath(cast(StoredPath, path).address, patience_s=0.0))


class Leases:
    """The leases of a folder. Threads may share it."""

    def __init__(
        self,
        folder: Path,
        *,
        holder: str = "",
        lasts_s: float = LASTS_S,
        process: str | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Write nothing yet.

        Args:
            folder: where the leases' files are, on this machine or in a storage.
            holder: who asks, for people; "" is this host and process.
            lasts_s: for how long a lease is its holder's without being written anew; one that is there already says
                its own time.
            process: the name of the holder's process, by which others on its machine see that it has ended; ``None``
                is this one, and "" tells nobody.
            clock_s: the present moment in seconds.
            sleep: waits for some seconds.
        """
        self.folder, self._holder, self._lasts_s = folder, holder, lasts_s
        self._process = process
        self._clock_s, self._sleep = clock_s, sleep

    @contextmanager
    def held(
        self,
        name: str,
        *,
        done: Callable[[], bool] = lambda: False,
        waiting: Callable[[str], object] = lambda _holder: None,
    ) -> Iterator[Lease | None]:
        """Have a lease within the block, after waiting for its holder; or ``None``, because the work is done.

        Args:
            name: what the lease is for; letters, digits, dots and dashes.
            done: says whether somebody has done the work meanwhile; asked while waiting, and once the lease is had.
            waiting: called with the name of the holder at each look while another one has it.

        Raises:
            OSError: a folder of this machine cannot be written.
            StorageError: the storage refuses, or is away for too long.
        """
        lease = self.take(name, done, waiting)
        try:
            yield lease
        finally:
            if lease is not None:
                lease.release()

    def holder(self, name: str) -> str | None:
        """Return who has a lease, by its file; ``None`` if nobody has, or its holder has surely ended.

        A holder on another machine that is gone is still named.
        """
        found = read_version(self._path(name))
        if found is None or has_ended((state := _state_of(found.data)).process):
            return None
        return state.holder

    def take(self, name: str, done: Callable[[], bool], waiting: Callable[[str], object]) -> Lease | None:
        """Return a lease that the caller releases; see `held`."""
        path = self._path(name)
        process = this_process() if self._process is None else self._process  # asked here: this may be a fork
        own = LeaseState(self._holder or this_holder(), secrets.token_hex(8), 0, self._lasts_s, process)
        watch: _Watch | None = None
        while not done():
            if (version := create(path, own.to_bytes())) is not None:
                return self._unless_done(Lease(path, own, version), done)
            if watch is None or watch.version != version_name(path):
                if (found := read_version(path)) is None:
                    continue  # It was released this very moment.
                if (state := _state_of(found.data)).token == own.token:
                    return self._unless_done(Lease(path, own, found.name), done)
                watch = _Watch(found.name, state)
            if watch.is_over(self._clock_s()):
                _log.warning("The lease %s of %s has ended: it is taken over.", path, watch.state.holder)
                if (version := replace(path, own.to_bytes(), watch.version)) is not None:
                    return self._unless_done(Lease(path, own, version), done)
                watch = None
                continue
            waiting(watch.state.holder)
            self._sleep(watch.look_every_s)
        return None

    def take_if_free(self, name: str) -> Lease | None:
        """Return a lease that the caller releases; ``None``, without waiting, while another one has it.

        Raises:
            OSError: a folder of this machine cannot be written.
            StorageError: the storage refuses, or is away for too long.
        """

        def give_up(_holder: str) -> None:
            raise _HeldError

        try:
            return self.take(name, lambda: False, give_up)
        except _HeldError:
            return None

    def _unless_done(self, lease: Lease, done: Callable[[], bool]) -> Lease | None:
        """Return a new lease, or give it back because its last holder has done the work."""
        try:
            is_done = done()
        except BaseException:
            lease.release()
            raise
        if is_done:
            lease.release()
            return None
        return lease

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.lease"


class _HeldError(Exception):
    """Another one has the lease."""


class _Watch:
    """How long a lease's file has stayed the same, by the clock of the one who looks."""

    def __init__(self, version: str, state: LeaseState) -> None:
        self.version, self.state = version, state
        self.look_every_s = min(_LONGEST_LOOK_S, state.lasts_s / 10)
        self._same_s = 0.0
        self._looked_s: float | None = None

    def is_over(self, now_s: float) -> bool:
        """Say whether the holder is gone. Time in which nobody could look does not count."""
        if self._looked_s is not None:
            self._same_s += min(now_s - self._looked_s, 2 * self.look_every_s)
        self._looked_s = now_s
        return self._same_s >= self.state.lasts_s or has_ended(self.state.process)


def this_holder() -> str:
    """Return how people tell this process from others."""
    return f"{socket.gethostname()}, process {os.getpid()}"


def this_process() -> str:
    """Return a name of this process that no other process ever had; "" where the system does not tell."""
    return _process_name(os.getpid()) or ""


def has_ended(process: str) -> bool:
    """Say whether a process has surely ended: it was one of this machine, as this process sees it, and is no more."""
    machine, _, rest = process.partition(" ")
    number = rest.partition(" ")[0]
    if not machine or machine != _machine() or not number.isdigit():
        return False
    name = _process_name(int(number))
    return not _may_run(int(number)) if name is None else name != process


def _may_run(number: int) -> bool:
    """Say whether there may be a process of this number that /proc hides from this user (the option hidepid)."""
    try:
        os.kill(number, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return not _is_over(number)


def _is_over(number: int) -> bool:
    """Say whether a process has ended and is not buried yet."""
    try:
        return _fields_of(number)[0] in "ZX"
    except (OSError, ValueError):
        return False


def _process_name(number: int) -> str | None:
    """Return "machine number start" of a process that runs; ``None`` if /proc shows none of this number."""
    try:
        found = _fields_of(number)
    except (OSError, ValueError):
        return None
    if not (machine := _machine()) or found[0] in "ZX":
        return None
    return f"{machine} {number} {found[19]}"


def _fields_of(number: int) -> list[str]:
    """Return what /proc tells of a process after its name: its state, ..., the moment of its start."""
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()


@cache
def _machine() -> str:
    """Return a name of this boot of this machine and of the numbering of its processes; "" without Linux's /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _state_of(data: bytes) -> LeaseState:
    """Return what a lease's file says; one that cannot be read, as of a killed holder, ends after the usual time."""
    try:
        values = json.loads(data)
        state = LeaseState(**{field.name: values[field.name] for field in fields(LeaseState)})
        return LeaseState(**{**vars(state), "lasts_s": min(max(float(state.lasts_s), 0.1), 3600.0)})
    except (ValueError, TypeError, KeyError):
        return LeaseState("somebody unknown", "", 0, LASTS_S)
