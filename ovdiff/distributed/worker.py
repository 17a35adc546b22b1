"""What runs on the other machine: an actor that is made ready once and then calls functions, and tasks without models.

What a function raises comes back as a value, so that the caller can tell it from the end of a worker: that one comes
as an exception of Ray.

Tested by tests/ovdiff/distributed/test_pool.py.
"""

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovdiff.errors import ClusterError


@dataclass(frozen=True)
class Raised:
    """What a function raised on another machine."""

    error: BaseException

    @classmethod
    def of(cls, error: BaseException) -> "Raised":
        """Keep an error, or its words where the error itself would not arrive as it is."""
        try:
            arrives = str(pickle.loads(pickle.dumps(error))) == str(error)
        except Exception:  # noqa: BLE001 — whatever another package's error does when it is copied
            arrives = False
        return cls(error if arrives else ClusterError(f"{type(error).__name__} on another machine: {error}"))


def attempt(function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    """Return what a function returns or :class:`Raised`; a step before that raised is handed on as it is."""
    for each in given:
        if isinstance(each, Raised):
            return each
    try:
        return function(*given)
    except Exception as error:  # noqa: BLE001 — the caller raises it
        return Raised.of(error)


class Worker:
    """An actor's own class: one process on one machine, with models that are loaded once."""

    def start(self, folder: str, initializer: Callable[..., None] | None, given: tuple[Any, ...]) -> Any:
        """Make the process ready.

        Args:
            folder: the caller's working folder, which relative paths mean; other machines may share it.
            initializer: makes the engine of this process.
            given: the initializer's arguments.
        """
        if Path(folder).is_dir():
            os.chdir(folder)
        return None if initializer is None else attempt(initializer, given)

    def run(self, function: Callable[..., Any], *given: Any) -> Any:
        """Call a function; values that other tasks made have arrived before."""
        return attempt(function, given)


def step(function: Callable[..., Any], folder: str, *given: Any) -> Any:
    """Call a function that needs no models, in the caller's working folder."""
    if Path(folder).is_dir():
        os.chdir(folder)
    return attempt(function, given)
