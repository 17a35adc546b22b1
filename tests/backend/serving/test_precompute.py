import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.serving.precompute import Precompute
from ovdiff.bank import Bank
from ovdiff.errors import DeviceMemoryError, WeightsError
from ovdiff.vocabulary import Category
from tests.fakes.engine import FakeEngine
from tests.fakes.waiting import eventually

RED, BLUE, GREEN = Category("red"), Category("blue"), Category("green")
TIMEOUT_S = 10.0


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return FakeEngine(tmp_path / "bank")


@pytest.fixture
def precompute(engine: FakeEngine) -> Iterator[Precompute]:
    worker = Precompute(engine, retry_failed_after_s=300.0)
    worker.start()
    yield worker
    if engine.gate is not None:
        engine.gate.set()
    worker.stop(timeout_s=1.0)  # a worker that does not end is a daemon


def states(precompute: Precompute, *categories: Category) -> list[str]:
    return [precompute.status(category).state for category in categories]


def test_wanted_categories_become_ready(precompute: Precompute, engine: FakeEngine) -> None:
    precompute.want("1", [RED, BLUE])
    precompute.wait([RED, BLUE], TIMEOUT_S)
    assert engine.built == ["red", "blue"] == list(precompute.built)
    assert precompute.ready([RED, BLUE, GREEN]) == {c: engine.category_key(c) for c in (RED, BLUE)}


def test_what_the_bank_has_is_not_built_again(precompute: Precompute, engine: FakeEngine, tmp_path: Path) -> None:
    FakeEngine(tmp_path / "bank").build(RED)
    precompute.want("1", [RED, BLUE])
    precompute.wait([RED, BLUE], TIMEOUT_S)
    assert engine.built == ["blue"]


def test_a_category_of_two_projects_is_built_once(precompute: Precompute, engine: FakeEngine) -> None:
    engine.gate = threading.Event()
    precompute.want("1", [RED])
    precompute.want("2", [RED])
    engine.gate.set()
    precompute.wait([RED], TIMEOUT_S)
    assert engine.built == ["red"]


def test_stage_and_progress_are_told_while_it_builds(precompute: Precompute, engine: FakeEngine) -> None:
    engine.gate = threading.Event()
    precompute.want("1", [RED, BLUE])
    assert eventually(lambda: precompute.status(RED).stage == "generating")
    assert (precompute.status(RED).state, precompute.status(RED).progress) == ("building", 0.5)
    assert states(precompute, BLUE) == ["queued"]


def test_waiting_ends_after_the_timeout(precompute: Precompute, engine: FakeEngine) -> None:
    engine.gate = threading.Event()
    precompute.want("1", [RED])
    precompute.wait([RED], 0.05)
    assert precompute.ready([RED]) == {}


def test_the_project_that_spoke_last_is_served_first(precompute: Precompute, engine: FakeEngine) -> None:
    engine.gate = threading.Event()
    precompute.want("1", [RED, BLUE])
    assert eventually(lambda: states(precompute, RED) == ["building"])
    precompute.want("2", [GREEN])
    engine.gate.set()
    precompute.wait([RED, BLUE, GREEN], TIMEOUT_S)
    assert engine.built == ["red", "green", "blue"]


def test_a_failure_has_its_reason_and_stops_nothing(precompute: Precompute, engine: FakeEngine) -> None:
    engine.failing = frozenset({"red"})
    precompute.want("1", [RED, BLUE])
    precompute.wait([RED, BLUE], TIMEOUT_S)
    assert states(precompute, RED, BLUE) == ["failed", "ready"]
    assert precompute.status(RED).reason == "No support image of 'red' has any foreground."


def test_an_unexpected_failure_does_not_end_the_worker(
    precompute: Precompute, engine: FakeEngine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(category: Category, progress: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(engine, "build", fail)
        precompute.want("1", [RED])
        precompute.wait([RED], TIMEOUT_S)
    assert "unexpected ZeroDivisionError" in precompute.status(RED).reason
    assert "Traceback" in caplog.text
    precompute.want("1", [BLUE])
    precompute.wait([BLUE], TIMEOUT_S)
    assert states(precompute, BLUE) == ["ready"]


def test_a_failed_category_is_tried_again_later_when_somebody_asks(tmp_path: Path) -> None:
    now_s = 0.0
    engine = FakeEngine(tmp_path / "bank", failing=frozenset({"red"}))
    precompute = Precompute(engine, retry_failed_after_s=300.0, clock_s=lambda: now_s)
    precompute.start()
    precompute.want("1", [RED])
    precompute.wait([RED], TIMEOUT_S)
    engine.failing = frozenset()
    precompute.want("1", [RED])
    precompute.wait([RED], 0.1)
    assert states(precompute, RED) == ["failed"]
    now_s = 301.0
    precompute.want("1", [RED])
    assert eventually(lambda: states(precompute, RED) == ["ready"])
    precompute.stop()


def test_a_failed_category_holds_nobody_up_while_it_is_tried_again(tmp_path: Path) -> None:
    now_s = 0.0
    engine = FakeEngine(tmp_path / "bank", failing=frozenset({"red"}))
    precompute = Precompute(engine, retry_failed_after_s=300.0, clock_s=lambda: now_s)
    precompute.start()
    precompute.want("1", [RED])
    precompute.wait([RED], TIMEOUT_S)
    assert list(precompute.standing([RED]).failed) == [RED]
    now_s, engine.gate = 301.0, threading.Event()
    precompute.want("1", [RED])
    assert eventually(lambda: precompute.status(RED).stage == "generating")
    standing = precompute.standing([RED])
    assert (standing.ready, standing.pending) == ({}, {})
    assert standing.failed == {RED: "building: generating, 50%"}
    waiter = threading.Thread(target=precompute.wait, args=([RED], 60.0), daemon=True)
    waiter.start()
    waiter.join(5)
    assert not waiter.is_alive()
    engine.gate.set()
    precompute.stop()


def test_categories_that_failed_with_all_others_are_pending_once_one_could_be_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, engine = 0.0, FakeEngine(tmp_path / "bank")

    def unreachable(category: Category, progress: object) -> None:
        raise WeightsError("the hub cannot be reached.")

    precompute = Precompute(engine, retry_failed_after_s=300.0, clock_s=lambda: now_s)
    precompute.start()
    with monkeypatch.context() as patched:
        patched.setattr(engine, "build", unreachable)
        precompute.want("1", [RED, BLUE])
        precompute.wait([RED, BLUE], TIMEOUT_S)
    assert set(precompute.standing([RED, BLUE]).failed) == {RED, BLUE}
    build = engine.build

    def held(category: Category, progress: Callable[[str, float], None] | None = None) -> None:
        engine.gate = threading.Event() if category == BLUE else None
        build(category, progress)

    monkeypatch.setattr(engine, "build", held)
    now_s = 301.0
    precompute.want("1", [RED, BLUE])
    assert eventually(lambda: precompute.status(BLUE).stage == "generating")
    standing = precompute.standing([RED, BLUE])
    assert (set(standing.ready), set(standing.pending), standing.failed) == ({RED}, {BLUE}, {})
    assert engine.gate is not None
    engine.gate.set()
    precompute.stop()


def test_a_set_that_vanishes_from_the_bank_is_built_again(precompute: Precompute, engine: FakeEngine) -> None:
    precompute.want("1", [RED])
    precompute.wait([RED], TIMEOUT_S)
    Bank(engine.folder).remove(engine.category_key(RED))
    precompute.want("1", [RED])
    precompute.wait([RED], TIMEOUT_S)
    assert engine.built == ["red", "red"]


def test_a_bank_that_keeps_nothing_is_a_failure_not_an_endless_loop(
    precompute: Precompute, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "has", lambda category: False)
    precompute.want("1", [RED])
    precompute.wait([RED], TIMEOUT_S)
    assert "the bank does not have it" in precompute.status(RED).reason
    assert engine.built == ["red"]


def test_missing_weights_are_the_reason_of_every_category(
    precompute: Precompute, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(category: Category) -> str:
        raise WeightsError("Model folder 'sd' does not exist.")

    monkeypatch.setattr(engine, "category_key", refuse)
    precompute.want("1", [RED])
    precompute.wait([RED], TIMEOUT_S)
    assert precompute.status(RED).reason == "Model folder 'sd' does not exist."
    monkeypatch.undo()
    precompute.want("1", [RED])
    precompute.wait([RED], TIMEOUT_S)
    assert states(precompute, RED) == ["ready"]


@pytest.mark.parametrize("kind", [WeightsError, DeviceMemoryError])
def test_where_a_model_cannot_be_had_one_category_is_tried_for_all(
    kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now_s, tried, engine = 0.0, [], FakeEngine(tmp_path / "bank")

    def unreachable(category: Category, progress: object) -> None:
        tried.append(category.name)
        raise kind("'some/model' does not load: the hub cannot be reached.")

    precompute = Precompute(engine, retry_failed_after_s=300.0, clock_s=lambda: now_s)
    precompute.start()
    with monkeypatch.context() as patched:
        patched.setattr(engine, "build", unreachable)
        for wanted in ([RED, BLUE, GREEN], [GREEN, RED]):
            precompute.want("1", wanted)
            precompute.wait(wanted, TIMEOUT_S)
        assert tried == ["red"]
        assert {precompute.status(each).reason for each in (RED, BLUE, GREEN)} == {
            "'some/model' does not load: the hub cannot be reached."
        }
        (error,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
        assert error.startswith("Every category failed: 'some/model'") and "after 300 s" in error
    now_s = 301.0
    precompute.want("1", [RED, BLUE, GREEN])
    assert eventually(lambda: states(precompute, RED, BLUE, GREEN) == ["ready"] * 3)
    precompute.stop()


def test_the_log_says_when_a_build_begins_and_ends(
    precompute: Precompute, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "backend.serving.precompute"):
        precompute.want("1", [RED])
        precompute.wait([RED], TIMEOUT_S)
    assert caplog.messages[0] == "Category 'red': making its prototypes."
    assert caplog.messages[1].startswith("Category 'red' is ready after")


def test_stopping_ends_a_build_between_two_batches(engine: FakeEngine) -> None:
    engine.gate = threading.Event()
    precompute = Precompute(engine, retry_failed_after_s=300.0)
    precompute.start()
    precompute.want("1", [RED])
    assert eventually(lambda: precompute.status(RED).stage == "generating")
    precompute.stop(timeout_s=0.0)
    engine.gate.set()
    assert not eventually(lambda: engine.has(RED), timeout_s=0.2)
    assert engine.built == []


def test_stopping_releases_those_who_wait(precompute: Precompute, engine: FakeEngine) -> None:
    engine.gate = threading.Event()
    precompute.want("1", [RED])
    waiter = threading.Thread(target=precompute.wait, args=([RED], 60.0), daemon=True)
    waiter.start()
    precompute.stop(timeout_s=0.1)
    waiter.join(5)
    assert not waiter.is_alive()


def test_a_bank_that_cannot_be_read_for_a_while_does_not_end_the_worker(
    precompute: Precompute, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    has, readable = engine.has, threading.Event()

    def denied(category: Category) -> bool:
        if readable.is_set():
            return has(category)
        raise PermissionError(13, "Permission denied", "bank")

    monkeypatch.setattr(engine, "has", denied)
    precompute.want("1", [RED])
    assert eventually(lambda: precompute.status(RED).state == "failed")
    assert "Permission denied" in precompute.status(RED).reason
    readable.set()
    precompute.want("1", [RED])
    precompute.wait([RED], 1.0)
    assert engine.built == ["red"]


def test_the_worker_outlives_whatever_an_engine_raises(
    precompute: Precompute, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_category: Category) -> bool:
        raise KeyError("an engine of another package")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "has", broken)
        precompute.want("1", [RED])
        precompute.wait([RED], TIMEOUT_S)
        assert precompute.status(RED).reason.startswith("unexpected KeyError")
    precompute.want("1", [RED, BLUE])
    precompute.wait([RED, BLUE], TIMEOUT_S)
    assert states(precompute, RED, BLUE) == ["ready", "ready"]
