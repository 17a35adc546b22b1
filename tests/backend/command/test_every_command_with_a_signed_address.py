"""No command tells what gives access to an address: neither in its messages, its answer and its log, nor in its files.

Each argument of each command that may name a file is replaced by an address with a signature, and by one with a
password. The engine is a stand-in, so that commands come as far as they do with such an address.
"""

import io
import logging
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.command import cli
from backend.logs import JsonLines, TextLines
from tests.backend.command.test_every_command_as_json import TOLD
from tests.fakes.engine import FakeEngine
from tests.fakes.pictures import encoded, red_and_blue
from tests.fakes.scripted_server import ScriptedServer, scripted_server

QUERY = "X-Amz-Credential=me/2026/s3&X-Amz-Signature=hush&token=hush"
ADDRESS, WITH_PASSWORD = f"http://127.0.0.1:9/a.png?{QUERY}", "http://me:hush@127.0.0.1:9/a.png"
NAMES_NO_FILE = ("plan", "settings", "doctor", "projects", "lessons", "prototypes", "prelabel", "export", "presets")
"""Commands whose first argument is a word or a number; `segment` tries what they do with addresses in options."""


class Log:
    """What all loggers say, as the commands and the service write it."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        self._handlers = [logging.StreamHandler(self.text), logging.StreamHandler(self.text)]
        for handler, form in zip(self._handlers, (TextLines(), JsonLines()), strict=True):
            handler.setFormatter(form)
            logging.getLogger().addHandler(handler)

    def close(self) -> None:
        for handler in self._handlers:
            logging.getLogger().removeHandler(handler)


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        server.answers |= {
            "GET /whole.png": (200, encoded(red_and_blue())),
            "HEAD /whole.png": (200, b""),
            "GET /broken.png": (200, b"no picture"),
            "GET /refused.png": (403, b""),
            "GET /away.png": (503, b""),
        }
        yield server


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("OVDIFF_STORAGE_PATIENCE_S", "0.3")
    monkeypatch.setattr("backend.engine.make_engine", lambda *_, **__: FakeEngine(tmp_path / "data/bank"))
    (tmp_path / "config.xml").write_text("<View/>")
    (tmp_path / "export.json").write_text("[]")
    return tmp_path


def told(arguments: list[str], capsys: pytest.CaptureFixture[str], log: Log) -> str:
    """Run a command, and return all that it told: to people and programs, in the log and in files."""
    try:
        status = cli.main(arguments)
    except SystemExit as ended:
        status = int(ended.code or 0)
    said = capsys.readouterr()
    files = [path for path in Path().rglob("*") if path.is_file() and path.name != "rows.jsonl"]
    written = "".join(f"{path.name}: {path.read_bytes()!r}\n" for path in files)
    return f"{status}\n{said.out}{said.err}{log.text.getvalue()}{written}"


def with_address(line: str) -> list[str]:
    """Return the arguments of a command with the address in the place of the first, unless that is an option."""
    words = [word if word.startswith("-") else ADDRESS for word in shlex.split(line)[:1]]
    return [*words, *shlex.split(line)[1:]]


@pytest.mark.parametrize("command", [name for name in TOLD if name.split()[0] not in NAMES_NO_FILE])
def test_what_every_command_says_of_an_address_does_not_give_access_to_it(
    command: str, capsys: pytest.CaptureFixture[str], log: Log
) -> None:
    found = told([*command.split(), *with_address(TOLD[command][0])], capsys, log)
    assert "hush" not in found


@pytest.mark.parametrize(
    "options", [["--bank", ADDRESS], ["--preset", ADDRESS], ["--shards", ADDRESS], [WITH_PASSWORD]]
)
def test_what_is_said_of_options_does_not_give_access_to_an_address(
    options: list[str], capsys: pytest.CaptureFixture[str], log: Log
) -> None:
    found = told(["segment", "a.png", "--categories", "red", *options], capsys, log)
    assert found.startswith("2\n") and "hush" not in found


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("name", ["whole", "broken", "missing", "refused", "away"])
def test_an_image_at_an_address_is_told_and_stored_without_its_signature(
    name: str, as_json: bool, server: ScriptedServer, capsys: pytest.CaptureFixture[str], log: Log
) -> None:
    image = [f"{server.url}/{name}.png?{QUERY}", "--categories", "red, blue"]
    results = ["--out", "out", "--indexed", "--overlay", "--coco", "out/masks.json"]
    found = told(["segment", *image, *results, *(["--json"] if as_json else [])], capsys, log)
    status, names = found[:1], re.findall(r"^([\w.]+): b", found, re.MULTILINE)
    assert "hush" not in found and status == {"whole": "0", "broken": "1"}.get(name, "2")
    made = {"whole.indexed.png", "whole.overlay.png", "masks.json"} if name == "whole" else set()
    assert made == {each for each in names if each.startswith((name, "masks"))}
    assert f"{name}.png?..." in found or (name == "whole" and not as_json)


@pytest.mark.parametrize("form", ["coco", "parquet"])
def test_rows_at_addresses_are_told_and_stored_without_signatures(
    form: str, server: ScriptedServer, capsys: pytest.CaptureFixture[str], log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVDIFF_PRIVATE_IMAGE_HOSTS", server.url.removeprefix("http://"))
    images = [f"{server.url}/{name}.png?{QUERY}" for name in ("whole", "broken", "missing", "refused", "away")]
    images += [f"{server.url.replace('//', '//me:hush@')}/whole.png", f"ftp://me:hush@host/a.png?{QUERY}"]
    Path("rows.jsonl").write_text("".join(f'{{"image": "{image}"}}\n' for image in images))
    run = ["segment", "--manifest", "rows.jsonl", "--categories", "red", "--out", "out", "--format", form, "--json"]
    found = told(run, capsys, log)
    assert "hush" not in found and "6 of 7 rows have no result" in found
