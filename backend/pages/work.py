"""What takes too long for a request: it is done one after another in a thread, and the page says how far it is."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

from backend.errors import BackendError, BusyError
from converters.errors import ConverterError
from ovdiff.errors import OVDiffError

logger = logging.getLogger(__name__)

MOST = 40
"""Pieces of work that are remembered, those that wait included; the oldest finished ones are forgotten."""


@dataclass(frozen=True)
class Piece:
    """A piece of work: what it is in words, how far it is, what came of it or why it failed, and its own number.

    Two pieces of the same title and the same `what` are the same.
    """

    title: str
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    result: Any = None
    error: str = ""
    number: int = 0
    what: Hashable = None

    @property
    def is_open(self) -> bool:
        """Whether it is still to be finished."""
        return self.state in ("waiting", "running")


class Work:
    """Pieces of work, each known by what it is about. Threads may share it."""

    def __init__(self, most: int = MOST) -> None:
        """Remember at most so many pieces. The thread starts with the first of them."""
        self._most = most
        self._lock = threading.Lock()
        self._pieces: dict[Hashable, Piece] = {}
        self._numbers = itertools.count(1)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ovdiff-page-work")

    def start(self, about: Hashable, title: str, act: Callable[[], Any], *, what: Hashable = None) -> None:
        """Have something done soon, unless the same is already waiting or running.

        What is about the same and is yet another piece, by its title or by `what`, is refused: nobody's wish is lost
        without a word.

        Args:
            about: what it is about, by which `of` finds it.
            title: what it is, for people.
            act: does it; what it returns is kept.
            what: what is asked for, where the title does not say all of it.

        Raises:
            BusyError: another piece about the same is not finished, or too many pieces are waiting.
        """
        with self._lock:
            known = self._pieces.get(about)
            if known is not None and known.is_open:
                if (known.title, known.what) == (title, what):
                    return
                raise BusyError(
                    f"{title!r} was not begun: {known.title!r} is still to be finished. Wait for that, and ask again."
                )
            self._pieces.pop(about, None)
            self._make_room()
            piece = self._pieces[about] = Piece(title, number=next(self._numbers), what=what)
        self._thread.submit(self._do, about, piece, act)

    def of(self, about: Hashable) -> Piece | None:
        """Return the piece of work about something; None if there is none, or it was forgotten."""
        with self._lock:
            return self._pieces.get(about)

    def forget(self, about: Hashable) -> None:
        """Forget a piece of work that is finished."""
        with self._lock:
            if (known := self._pieces.get(about)) is not None and not known.is_open:
                del self._pieces[about]

    def put(self, about: Hashable, number: int, result: Any) -> None:
        """Replace what came of a piece of work that is done, unless another one has begun under its name since."""
        with self._lock:
            if (known := self._pieces.get(about)) is not None and (known.number, known.state) == (number, "done"):
                self._pieces[about] = replace(known, result=result)

    def _make_room(self) -> None:
        finished = [about for about, piece in self._pieces.items() if not piece.is_open]
        while len(self._pieces) >= self._most:
            if not finished:
                raise BusyError(f"{self._most} other changes wait to be done. Try again when some of them are.")
            del self._pieces[finished.pop(0)]

    def _do(self, about: Hashable, piece: Piece, act: Callable[[], Any]) -> None:
        with self._lock:
            self._pieces[about] = replace(piece, state="running")
        try:
            piece = replace(piece, state="done", result=act())
        except (BackendError, ConverterError, OVDiffError, OSError) as error:
            piece = replace(piece, state="failed", error=str(error))
        except Exception as error:  # the thread must outlive mistakes, as of an engine of another package
            logger.exception("%s failed unexpectedly.", piece.title)
            why = f"unexpected {type(error).__name__}; the service's log has the details"
            piece = replace(piece, state="failed", error=why)
        with self._lock:
            self._pieces[about] = piece
