"""Signals as a terminal, or a script's background job, gives them to a program.

`nohup make test` ignores SIGHUP, a script's background job ignores SIGINT, and every child inherits that. A test that
sends such a signal, to itself or to a child, therefore says which of the two it means. A child that is started inside
one of these blocks inherits only what is ignored there; it handles all other signals by default.
"""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def terminal_signals() -> Iterator[None]:
    """Handle signals inside the block as a Python does that a person started in a terminal."""
    with _handled_by(
        {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    ):
        yield


@contextmanager
def background_signals() -> Iterator[None]:
    """Ignore inside the block what nohup and a script's background job ignore."""
    with _handled_by({signal.SIGINT: signal.SIG_IGN, signal.SIGHUP: signal.SIG_IGN}):
        yield


@contextmanager
def _handled_by(handlers: Mapping[signal.Signals, Any]) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
