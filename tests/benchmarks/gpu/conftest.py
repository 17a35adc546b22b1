"""Groups of measurements that run in the test's own process: none has to import the libraries first."""

import logging
import multiprocessing
from typing import Any

import pytest


class Here:
    """Runs what a process would run, in this one; what would end it ends the call."""

    def __init__(self, target: Any, args: Any) -> None:
        self._target, self._args, self.exitcode = target, args, 0

    def start(self) -> None:
        try:
            self._target(*self._args)
        except SystemExit as error:
            self.exitcode = error.code

    def join(self, timeout: float | None = None) -> None: ...

    def is_alive(self) -> bool:
        return False

    def kill(self) -> None: ...


class Processes:
    Process = Here

    def set_forkserver_preload(self, _modules: object) -> None: ...


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a group's process would do is done here."""
    monkeypatch.setattr(multiprocessing, "get_context", lambda _method: Processes())
    monkeypatch.setattr(logging, "basicConfig", lambda **_given: None)  # a process of its own would change its own
