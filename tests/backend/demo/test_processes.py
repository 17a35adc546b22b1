import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.demo.errors import ServerError
from backend.demo.processes import (
    LOOPBACK,
    Child,
    ProcessGroups,
    deferred_signals,
    exit_on_termination,
    free_port,
    is_listening,
    wait_until_ready,
)
from tests.fakes.signals import background_signals, terminal_signals

_ENV = {"PATH": os.defpath}
_SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
# A server whose own child ignores polite signals: both must go.
_FAMILY = [
    sys.executable,
    "-c",
    "import signal, subprocess, sys, time;"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "time.sleep(600)",
]


@pytest.fixture(autouse=True)
def started_from_a_terminal() -> Iterator[None]:
    """Whether these tests run in a terminal, under nohup or in a script's background makes no difference."""
    with terminal_signals():
        yield


def _eventually(condition: Callable[[], bool], timeout_s: float = 20) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def _members(child: Child) -> list[str]:
    listing = subprocess.run(
        ["ps", "-o", "stat=", "-g", str(child.process.pid)], capture_output=True, text=True, check=False
    )
    return [line for line in listing.stdout.split() if not line.startswith("Z")]


def test_children_and_their_children_end_with_the_block(tmp_path: Path) -> None:
    with ProcessGroups() as groups:
        child = groups.start("family", _FAMILY, _ENV, tmp_path / "log")
        assert _eventually(lambda: len(_members(child)) == 2)
    assert child.process.poll() is not None
    assert _members(child) == []


def test_children_end_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a step failed"), ProcessGroups() as groups:
        child = groups.start("sleeper", _SLEEPER, _ENV, tmp_path / "log")
        raise RuntimeError("a step failed")
    assert child.process.poll() is not None


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.demo.processes._GRACE_S", 0.3)
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);print('deaf', flush=True); time.sleep(600)"
    )
    log = tmp_path / "log"
    with ProcessGroups() as groups:
        child = groups.start("stubborn", [sys.executable, "-c", stubborn], _ENV, log)
        assert _eventually(lambda: "deaf" in log.read_text())
    assert child.process.returncode == -signal.SIGKILL


def test_the_last_started_is_stopped_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []
    stop = Child.stop
    monkeypatch.setattr(Child, "stop", lambda child: (stopped.append(child.name), stop(child)))
    with ProcessGroups() as groups:
        groups.start("first", _SLEEPER, _ENV, tmp_path / "1")
        groups.start("second", _SLEEPER, _ENV, tmp_path / "2")
    assert stopped == ["second", "first"]


def test_a_child_gets_exactly_the_given_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAY", "1")
    log = tmp_path / "log"
    with ProcessGroups() as groups:
        command = [sys.executable, "-c", "import os; print(sorted(os.environ))"]
        child = groups.start("printer", command, {"PATH": os.defpath, "ONLY": "this"}, log)
        child.process.wait(20)
    assert "STRAY" not in log.read_text()
    assert "ONLY" in log.read_text()


def test_a_missing_command_is_named(tmp_path: Path) -> None:
    with ProcessGroups() as groups, pytest.raises(ServerError, match=r"Ghost cannot be started: .*no-such"):
        groups.start("Ghost", [tmp_path / "no-such"], _ENV, tmp_path / "log")


def test_a_child_that_exits_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with ProcessGroups() as groups:
        command = [sys.executable, "-c", "print('port is taken'); raise SystemExit(3)"]
        child = groups.start("Server", command, _ENV, tmp_path / "log")
        with pytest.raises(ServerError, match=r"Server exited with status 3\.\n.*log:\n    port is taken"):
            wait_until_ready(child, lambda: False, 20, lambda waited_s: None)


def test_waiting_ends_with_the_time_limit(tmp_path: Path) -> None:
    with ProcessGroups() as groups:
        child = groups.start("Slow", _SLEEPER, _ENV, tmp_path / "log")
        with pytest.raises(ServerError, match="Slow is not ready after 1 s"):
            wait_until_ready(child, lambda: False, 1, lambda waited_s: None)


def test_signals_wait_for_the_end_of_the_block() -> None:
    done = False
    with pytest.raises(KeyboardInterrupt), deferred_signals():
        signal.raise_signal(signal.SIGINT)
        done = True
    assert done


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_becomes_an_exit(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as exit_, exit_on_termination():
        signal.raise_signal(number)
    assert exit_.value.code == 128 + number
    assert signal.getsignal(number) == before


def test_ctrl_c_ends_a_background_job_too() -> None:
    with background_signals(), pytest.raises(KeyboardInterrupt), exit_on_termination():
        signal.raise_signal(signal.SIGINT)


def test_nohup_is_respected() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with background_signals(), exit_on_termination():
        signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGHUP) == before


def test_children_of_a_demo_under_nohup_and_in_the_background_can_be_stopped(tmp_path: Path) -> None:
    with background_signals(), ProcessGroups() as groups:
        child = groups.start("sleeper", _SLEEPER, _ENV, tmp_path / "log")
    assert child.process.returncode == -signal.SIGTERM


def test_a_preferred_port_is_taken_if_free_and_avoided_if_not() -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert is_listening(port)
        other = free_port(port)
        assert other != port
        assert free_port(other) == other


def test_a_port_taken_on_all_addresses_is_avoided() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
