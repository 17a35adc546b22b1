"""Fixtures that start what the end-to-end tests talk to, once for all of them; and one that ends all talk."""

import gc
import os
import socket
from collections.abc import Callable, Generator, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from backend.demo.console import standard_console
from backend.demo.session import Session, SessionSettings, open_session

pytest_plugins = [
    "pytester",
    "tests.clouds",
    "tests.ray_cluster",
    "tests.speed",
    "tests.storages",
    *(["tests.processes"] if find_spec("xdist") else []),
]

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache"
ROUNDS = 250


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--label-studio",
        type=Path,
        default=ROOT / ".venv-label-studio/bin/label-studio",
        help="Label Studio's executable; `make setup` installs it where the default looks",
    )

    parser.addoption(
        "--pictures",
        type=Path,
        help="a folder, such as docs, into which the walk of tests/end_to_end/test_walk.py writes its screenshots",
    )
    parser.addoption("--rounds", type=int, default=ROUNDS, help="how many hostile requests each test of them makes")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without a search for garbage, and leave what is collected out of later ones: it stays to the end.

    Ten thousand tests and what they import are a million objects, which every full search would walk through.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How many hostile requests a test makes; whoever asks for more of them than usual has time."""
    count: int = request.config.getoption("--rounds")
    if count > ROUNDS:
        request.node.add_marker(pytest.mark.slow)
    return count


Skipper = Callable[[str], None]


@pytest.fixture(scope="session")
def skip_for_want_of() -> Skipper:
    """Skip the test and say what is missing; in CI, where nothing may be missing, fail."""
    in_ci = os.environ.get("CI", "").lower() in ("1", "true", "yes")
    return pytest.fail if in_ci else pytest.skip


@pytest.fixture(scope="session")
def label_studio_executable(request: pytest.FixtureRequest, skip_for_want_of: Skipper) -> Path:
    executable: Path = request.config.getoption("--label-studio")
    if not executable.is_file():
        skip_for_want_of(f"There is no Label Studio at {executable}: `make setup` installs it.")
    return executable.absolute()


@pytest.fixture(scope="session")
def session(label_studio_executable: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A real Label Studio and a real backend with the embedded models, both with a state of their own.

    Label Studio's database is made once and kept in the project's `.cache`: then this takes seconds.
    """
    settings = SessionSettings(label_studio_executable, tmp_path_factory.mktemp("session"), CACHE)
    with open_session(settings, standard_console()) as running:
        yield running


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """As HF_HUB_OFFLINE=1, which is read at import; and a connection that is tried all the same fails the test."""

    def refuse(_socket: socket.socket, address: object) -> None:
        pytest.fail(f"a connection to {address} was tried")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket.socket, "connect", refuse)
