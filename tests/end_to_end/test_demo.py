"""`make demo` as a process of its own: it starts on taken ports, again, and leaves nothing running."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from backend.demo.processes import LOOPBACK, is_listening
from tests.fakes.signals import terminal_signals

pytestmark = pytest.mark.end_to_end

_ROOT = Path(__file__).parents[2]
_PRESET = """base = "tinyworld"
name = "quick"
generation = { images = 2, steps = 2 }
extractors = { use = ["clip"] }
matching = { extractors = ["clip"] }
"""
"""Prototypes of 19 words in seconds instead of a minute: no mask is looked at here."""
_START_TIMEOUT_S = 500.0
_STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class RunningDemo:
    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        return self.log.read_text()

    def wait_until_open(self) -> int:
        """Return the port that the demo tells people to open."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while "Ctrl-C ends the demo" not in self.output():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.2)
        found = re.search(r"Open +http://127\.0\.0\.1:(\d+)/projects/\d+/data", self.output())
        assert found, self.output()
        return int(found[1])

    def children(self) -> dict[int, str]:
        """Return the demo's child processes, id to command line."""
        command = ["ps", "-o", "pid=,args=", "--ppid", str(self.process.pid)]
        listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return {int(line.split()[0]): line for line in listing.splitlines()}

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(_STOP_TIMEOUT_S)


@contextmanager
def _demo(executable: Path, folder: Path, port: int) -> Iterator[RunningDemo]:
    log = folder.with_suffix(f".{time.monotonic_ns()}.log")
    preset = folder.with_name("quick.toml")
    preset.write_text(_PRESET)
    command = [sys.executable, "-m", "backend.demo.run", "--label-studio", executable, "--preset", preset]
    options = ["--folder", folder, "--cache", _ROOT / ".cache", "--scenes", "2", "--port", str(port)]
    with log.open("wb") as output, terminal_signals():
        process = subprocess.Popen(
            [*command, *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=_ROOT,
        )
    try:
        yield RunningDemo(process, log)
    finally:
        process.terminate()
        process.wait(_STOP_TIMEOUT_S)


def _alive(process_ids: dict[int, str]) -> list[str]:
    return [command for number, command in process_ids.items() if Path(f"/proc/{number}").exists()]


@pytest.mark.timeout(900)
def test_the_demo_starts_ends_and_starts_again(label_studio_executable: Path, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with socket.create_server((LOOPBACK, 0)) as taken:
        usual = taken.getsockname()[1]

        with _demo(label_studio_executable, folder, usual) as demo:
            port, children = demo.wait_until_open(), demo.children()
            assert port != usual
            assert len(children) == 2
            assert "2 of 2 images" in demo.output()
            assert demo.end(signal.SIGINT) == 0
            assert "nothing is left running" in demo.output()
            assert _alive(children) == []
            assert not is_listening(port)

    with _demo(label_studio_executable, folder, usual) as demo:
        assert demo.wait_until_open() == usual, "free again"
        assert "2 images, 0 of them new" in demo.output()
        children = demo.children()
        backend = next(number for number, command in children.items() if "label-studio" not in command)
        os.kill(backend, signal.SIGKILL)
        assert demo.process.wait(_STOP_TIMEOUT_S) == 1
        assert "The backend exited with status -9" in demo.output()
        assert _alive(children) == []
