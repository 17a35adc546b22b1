import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from backend.errors import ListenError
from backend.serving.http.listening import listen, serve
from backend.serving.store import Store
from backend.settings import ServerSettings, Settings
from tests.fakes.engine import FakeEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.signals import background_signals
from tests.fakes.sockets import ask, get, listening, port_of, post
from tests.fakes.waiting import eventually

ROOT = Path(__file__).parents[4]


def test_the_service_answers_over_a_real_port(app: Flask) -> None:
    with listening(app, ServerSettings(port=0)) as listener:
        assert ask(listener, get("/health")).endswith(b'{"model_class":"OVDiff","status":"UP"}\n')
        assert ask(listener, get("/nothing")).startswith(b"HTTP/1.1 404")


def test_an_event_of_20_mb_is_recorded(app: Flask, settings: Settings) -> None:
    head, tail = b'{"action":"ANNOTATION_CREATED","annotation":{"id":5,"result":[', b'1]},"project":{"id":1}}'
    numbers = b"12," * 6_800_000
    with listening(app, ServerSettings(port=0)) as listener:
        question = post("/webhook", len(head) + len(numbers) + len(tail))
        assert ask(listener, question, head + numbers + tail).endswith(b'{"status":"recorded"}\n')
    (event,) = Store(settings.state_file, event_rows=10).events()
    assert (event.action, event.details) == ("ANNOTATION_CREATED", {"annotation": 5})


def test_a_port_that_is_taken_is_named(app: Flask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=rf"Cannot listen on 127.0.0.1:{port} \(OVDIFF_HOST, OVDIFF_PORT\)"):
            listen(app, ServerSettings(port=port))


def test_the_heap_is_told_before_the_service_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    @contextmanager
    def tell() -> Iterator[None]:
        done.append("told")
        yield

    def refuse(_settings: Settings, **_: object) -> Flask:
        done.append("made")
        raise ListenError("that is enough")

    monkeypatch.setattr("backend.serving.http.listening.freed_memory_given_back", tell)
    monkeypatch.setattr("backend.serving.http.listening.create_app", refuse)
    monkeypatch.setattr(signal, "signal", lambda *_what: None)
    with pytest.raises(ListenError, match="that is enough"):
        serve(Settings())
    assert done == ["told", "made"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_the_service_also_in_the_background_of_a_script(
    number: signal.Signals, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    environment = {"PATH": os.defpath, "OVDIFF_DATA_DIR": str(tmp_path), "OVDIFF_PORT": "0", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output, background_signals():
        process = subprocess.Popen(
            [sys.executable, "-m", "backend.command.cli", "serve"],
            cwd=ROOT,
            env=environment,
            stderr=output,
        )
    try:
        assert eventually(lambda: "Listening on" in log.read_text() or process.poll() is not None, timeout_s=90.0)
        process.send_signal(number)
        assert process.wait(20) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def health_check(port: int) -> int:
    """Run the Dockerfile's check as Docker would, on this port, and return its exit status."""
    (check,) = re.findall(r"^HEALTHCHECK (?:--\S+ )*CMD (\[.*?\])$", (ROOT / "Dockerfile").read_text(), re.M | re.S)
    _, option, program = json.loads(check.replace("\\\n", ""))
    environment = {"PATH": os.defpath, "OVDIFF_PORT": str(port)}
    command = [sys.executable, option, program]
    return subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=False).returncode


def test_dockers_check_asks_whether_the_service_is_ready(
    make_app: MakeApp, settings: Settings, engine: FakeEngine
) -> None:
    server = ServerSettings(port=0, basic_user="ann", basic_password="secret")
    with listening(make_app(replace(settings, server=server), engine), server) as listener:
        assert health_check(port_of(listener)) == 0
        shutil.rmtree(settings.bank_dir)
        settings.bank_dir.write_text("")
        assert eventually(lambda: health_check(port_of(listener)) == 1)  # the disk is looked at once a second
        closed = port_of(listener)
    assert health_check(closed) == 1
