"""The messages of a command: results go to stdout, complaints and progress to stderr.

Results for programs are printed by `converters.console.answer`. Passwords and signatures of addresses are left out.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from backend.errors import UsageError
from converters.console import as_shown, is_json, is_quiet
from converters.files.redaction import without_secrets

LINE_EVERY_S = 10.0  # often enough to see that a run lives, and few lines in the log of an hour's run
_BAR = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
_RATED_BAR = _BAR + ", {rate_fmt}"
_COUNTED = "{desc}{n:.0f} {unit}s, {elapsed}, {rate_fmt}"


def say(text: str) -> None:
    """Write a line of the result for people to stdout, above the progress bar; with --json there are none."""
    if not is_json():
        _write(text, sys.stdout)


def notice(text: str) -> None:
    """Write a line about what is done on the way; with --json to stderr, and with --quiet nowhere."""
    if not is_quiet():
        _write(text, sys.stderr if is_json() else sys.stdout)


def complain(text: object) -> None:
    """Write a line about an error to stderr, above the progress bar."""
    _write(f"ovdiff: {text}", sys.stderr)


class Progress(Protocol):
    """The part of tqdm's bar that the commands use.

    Attributes:
        initial: how much of what is done was done by an earlier run, which says nothing about the time left.
    """

    initial: float

    @property
    def n(self) -> float:
        """How much is done."""
        ...

    def set_description(self, desc: str | None = None, refresh: bool | None = True) -> None:
        """Say what is being done."""
        ...

    def update(self, n: float | None = 1) -> object:
        """Add to how much is done."""
        ...


class ProgressLines:
    """Progress as lines for a log file; a short run writes none.

    ovdiff: boat, generating: 40%, 80 s, about 120 s left, 50.00 s/label
    """

    def __init__(
        self,
        total: float | None,
        unit: str,
        stream: TextIO,
        *,
        initial: float = 0.0,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start where an earlier run ended.

        Args:
            total: how much is to be done; None if nobody knows.
            unit: what is counted, such as "image"; "" if the total is a share and no number of things.
            stream: where the lines go, at most one in `LINE_EVERY_S`.
            initial: how much an earlier run has done.
            clock_s: the present moment in seconds.
        """
        self.n = self.initial = float(initial)
        self._total, self._unit, self._stream, self._clock_s = total, unit, stream, clock_s
        self._what = ""
        self._started_s = self._said_s = clock_s()

    def set_description(self, desc: str | None = None, refresh: bool | None = True) -> None:
        """Note what is being done."""
        self._what = without_secrets(desc or "")

    def update(self, n: float | None = 1) -> None:
        """Add to how much is done, and write a line if the last one is old enough."""
        self.n += n or 0.0
        now_s = self._clock_s()
        if now_s - self._said_s >= LINE_EVERY_S:
            self._said_s = now_s
            taken_s = now_s - self._started_s
            self._stream.write(f"ovdiff: {self._what}: {self._done()}, {taken_s:.0f} s{self._pace(taken_s)}\n")
            self._stream.flush()

    def _done(self) -> str:
        if self._total is None:
            return f"{self.n:.0f} {self._unit}s"
        return f"{self.n / self._total if self._total else 1.0:.0%}"

    def _pace(self, taken_s: float) -> str:
        """Return the time left and the rate, as far as both can be told."""
        done = self.n - self.initial
        if done <= 0 or (self._total is not None and self.n >= self._total):
            return ""
        left = "" if self._total is None else f", about {taken_s * (self._total - self.n) / done:.0f} s left"
        if not self._unit:
            return left
        rate = done / taken_s
        return f"{left}, " + (f"{rate:.2f} {self._unit}/s" if rate >= 1 else f"{1 / rate:.2f} s/{self._unit}")


class NoProgress:
    """Progress that nobody wants to see; it still counts, for whoever reads how much is done."""

    def __init__(self, initial: float = 0.0) -> None:
        """Start where an earlier run ended."""
        self.n = self.initial = float(initial)

    def set_description(self, desc: str | None = None, refresh: bool | None = True) -> None:
        """Say nothing."""

    def update(self, n: float | None = 1) -> None:
        """Add to how much is done."""
        self.n += n or 0.0


@contextmanager
def progress_bar(total: float | None, unit: str = "", initial: float = 0.0) -> Iterator[Progress]:
    """Show a progress bar on stderr, with log lines above it; where stderr is no terminal, a line now and then.

    Args:
        total: how much is to be done; None if nobody knows, so that the rate is told and no time left.
        unit: what is counted, such as "image": the rate is then told beside the time left. "" if the total is a share.
        initial: how much an earlier run has done, which says nothing about the time left.
    """
    if is_quiet():
        yield NoProgress(initial)
        return
    if not sys.stderr.isatty():
        yield ProgressLines(total, unit, sys.stderr, initial=initial)
        return
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    shape = _COUNTED if total is None else _RATED_BAR if unit else _BAR
    with (
        logging_redirect_tqdm(),
        tqdm(total=total, initial=initial, unit=unit, bar_format=shape, file=sys.stderr, leave=False) as bar,
    ):
        yield bar


def ask(question: str) -> bool:
    """Ask the person at the terminal a question, and return whether the answer was yes.

    Raises:
        UsageError: stdin is not a terminal, so nobody can answer; or with --json, where a program is asking.
    """
    if is_json() or not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody is there to answer; say it with --yes.")
    sys.stderr.write(f"{question} [y/N] ")  # stdout may be a file
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")  # "" after Ctrl-D


def _write(text: str, stream: TextIO) -> None:
    """Write a line above the progress bar, if there is one; letters that the stream lacks are written as escapes."""
    text = as_shown(text, stream)
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:  # the distribution without an extra: the converters' commands show no bar
        stream.write(f"{text}\n")
    else:
        tqdm.write(text, file=stream)
