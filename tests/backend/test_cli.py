import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend import app, cli
from backend.settings import settings_table
from tests.fakes.engine import FakeEngine
from tests.fakes.pictures import encoded, red_and_blue


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Run with a fake engine and a data folder of the test, and leave the process's signals as they were."""
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(app, "make_engine", lambda settings: FakeEngine(settings.bank_dir))
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def test_settings_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["settings"]) == 0
    assert capsys.readouterr().out == settings_table() + "\n"


def test_segment_writes_beside_the_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scene.png").write_bytes(encoded(red_and_blue()))
    assert cli.main(["segment", str(tmp_path / "scene.png"), "--categories", "red, blue"]) == 0
    assert (tmp_path / "scene.overlay.png").is_file()
    assert "overlay: " in capsys.readouterr().out


def test_prototypes_are_built_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prototypes", "build", "red"]) == 0
    assert cli.main(["prototypes", "list"]) == 0
    assert "red: generating" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["segment", "missing.png", "--categories", "red"], 1, "ovdiff: Cannot read the image missing.png"),
        (["segment", "missing.png", "--categories", ","], 1, "ovdiff: The vocabulary is empty"),
        (
            ["convert", "coco", "missing.json", "--label-config", "missing.xml", "--out", "x.json"],
            1,
            "ovdiff: Cannot convert missing.json",
        ),
    ],
)
def test_failures_are_one_line(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == status
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1


def test_wrong_settings_are_wrong_use(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OVDIFF_PROT", "1")
    assert cli.main(["settings"]) == 2
    assert capsys.readouterr().err == (
        "ovdiff: OVDIFF_PROT is not a setting. Did you mean OVDIFF_PORT? `ovdiff settings` lists all of them.\n"
    )


def test_interrupting_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "serve", interrupt)
    assert cli.main(["serve"]) == 130


def test_a_taken_port_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("OVDIFF_PORT", str(port))
        assert cli.main(["serve"]) == 1
    message = f"ovdiff: Cannot listen on 127.0.0.1:{port} (OVDIFF_HOST, OVDIFF_PORT): "
    assert capsys.readouterr().err.splitlines()[-1].startswith(message)


def test_the_command_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    assert caught.value.code == 2
    assert "COMMAND" in capsys.readouterr().err
