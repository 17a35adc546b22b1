import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backend.serving.readiness import CHECKED_EVERY_S, STORAGE_CHECKED_EVERY_S, Readiness
from backend.serving.store import Store
from ovdiff.errors import WeightsError
from ovdiff.storage import place
from tests.fakes.engine import FakeEngine
from tests.fakes.waiting import eventually
from tests.storages import Cable, new_bucket


@dataclass
class LoadingEngine(FakeEngine):
    """An engine that loads its models when it is told to, and may fail."""

    errors: list[Exception] = field(default_factory=list)
    loading: threading.Event = field(default_factory=threading.Event)
    loaded: int = 0

    def load_models(self) -> None:
        self.loading.wait(60)
        if self.errors:
            self.loading.clear()  # the next try waits until the test has seen this one fail
            raise self.errors.pop(0)
        self.loaded += 1


MakeReadiness = Callable[..., Readiness]


@pytest.fixture
def state_file(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


@pytest.fixture
def make(tmp_path: Path, state_file: Path) -> Iterator[MakeReadiness]:
    made: list[Readiness] = []

    def readiness(
        engine: FakeEngine, *, building_failed: str = "", clock_s: Callable[[], float] = lambda: 0.0
    ) -> Readiness:
        one = Readiness(
            engine,
            Store(state_file, event_rows=1),
            tmp_path / "bank",
            building_failed=lambda: building_failed,
            retry_failed_after_s=0.1,
            clock_s=clock_s,
        )
        made.append(one)
        one.start()
        return one

    yield readiness
    for one in made:
        one.stop()


def test_an_engine_that_cannot_load_ahead_is_ready(make: MakeReadiness, tmp_path: Path) -> None:
    assert make(FakeEngine(tmp_path)).missing() == {}


def test_models_are_loaded_once_and_not_at_a_probe(make: MakeReadiness, tmp_path: Path) -> None:
    engine = LoadingEngine(tmp_path)
    readiness = make(engine)
    assert [readiness.missing() for _ in range(3)] == [{"models": "being loaded"}] * 3
    engine.loading.set()
    assert eventually(lambda: readiness.missing() == {})
    assert engine.loaded == 1


def test_models_that_do_not_load_are_named_and_tried_again(
    make: MakeReadiness, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # the expected tracebacks
    engine = LoadingEngine(tmp_path, errors=[WeightsError("no weights at 'x'"), RuntimeError("secret")])
    readiness = make(engine)
    for told in ("no weights at 'x'", "unexpected RuntimeError; the service's log has the details"):
        engine.loading.set()
        assert eventually(lambda told=told: readiness.missing() == {"models": told})  # type: ignore[misc]
    engine.loading.set()
    assert eventually(lambda: readiness.missing() == {})
    assert engine.loaded == 1


def test_a_builder_without_models_is_not_ready(make: MakeReadiness, tmp_path: Path) -> None:
    assert make(FakeEngine(tmp_path), building_failed="no generator").missing() == {"models": "no generator"}


def test_what_cannot_be_written_is_named(make: MakeReadiness, tmp_path: Path, state_file: Path) -> None:
    readiness = make(FakeEngine(tmp_path))
    (tmp_path / "bank").write_text("a file in the place of the folder")
    state_file.unlink()
    state_file.mkdir()
    missing = readiness.missing()
    assert missing["bank"].startswith(f"cannot write in {tmp_path / 'bank'}: ")
    assert missing["state file"].startswith(f"cannot use the state file {state_file}: ")


def test_the_disk_is_looked_at_once_a_second(make: MakeReadiness, tmp_path: Path) -> None:
    now_s = [100.0]
    readiness = make(FakeEngine(tmp_path), clock_s=lambda: now_s[0])
    assert readiness.missing() == {}
    (tmp_path / "bank").rmdir()
    (tmp_path / "bank").write_text("")
    assert readiness.missing() == {}
    now_s[0] += CHECKED_EVERY_S
    assert readiness.missing().keys() == {"bank"}


def test_a_disk_that_hangs_holds_one_probe(
    make: MakeReadiness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, goes_on = threading.Event(), threading.Event()

    def hang(_store: Store) -> None:
        hanging.set()
        goes_on.wait(60)

    readiness = make(FakeEngine(tmp_path))
    monkeypatch.setattr(Store, "check", hang)
    first = threading.Thread(target=readiness.missing)
    first.start()
    assert hanging.wait(60)
    assert readiness.missing() == {"bank": "not looked at yet"}
    goes_on.set()
    first.join(60)
    assert readiness.missing() == {}


def test_a_bank_in_a_bucket_is_written_to_and_its_storage_may_be_away(
    cable: Cable, state_file: Path, tmp_path: Path
) -> None:
    now_s, folder = 0.0, place(f"{new_bucket()}/bank")
    one = Readiness(
        FakeEngine(tmp_path / "bank"),
        Store(state_file, event_rows=1),
        folder,
        building_failed=lambda: "",
        retry_failed_after_s=1.0,
        clock_s=lambda: now_s,
    )
    assert one.missing() == {} and not folder.is_dir()
    cable.cut()
    now_s = STORAGE_CHECKED_EVERY_S / 2
    assert one.missing() == {}, "a look costs two requests"
    now_s = STORAGE_CHECKED_EVERY_S
    assert f"cannot write in {folder}: " in one.missing()["bank"]
