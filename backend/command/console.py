"""The messages of a command: results go to stdout, complaints and progress to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from backend.errors import UsageError

if TYPE_CHECKING:
    from tqdm import tqdm

_BAR = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


def say(text: str) -> None:
    """Write a line of the result to stdout, above the progress bar."""
    _write(text, sys.stdout)


def complain(text: object) -> None:
    """Write a line about an error to stderr, above the progress bar."""
    _write(f"ovdiff: {text}", sys.stderr)


@contextmanager
def progress_bar(total: float) -> Iterator[tqdm[Any]]:
    """Show a progress bar on stderr, with log lines above it; show nothing if stderr is not a terminal."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    with logging_redirect_tqdm(), tqdm(total=total, bar_format=_BAR, file=sys.stderr, disable=None, leave=False) as bar:
        yield bar


def ask(question: str) -> bool:
    """Ask the person at the terminal a question, and return whether the answer was yes.

    Raises:
        UsageError: stdin is not a terminal, so nobody can answer.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody is there to answer; say it with --yes.")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _write(text: str, stream: TextIO) -> None:
    """Write a line above the progress bar, if there is one."""
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:  # the distribution without an extra: the converters' commands show no bar
        stream.write(f"{text}\n")
    else:
        tqdm.write(text, file=stream)
