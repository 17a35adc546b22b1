import errno
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backend.serving.preparing.precompute import Precompute
from ovdiff.bank import Bank
from ovdiff.bank import files as bank_files
from ovdiff.errors import DeviceMemoryError, StorageError, WeightsError
from ovdiff.vocabulary import Category
from tests.fakes.curating_engine import CuratingEngine
from tests.fakes.engine import DrawingAheadEngine, FakeEngine
from tests.fakes.waiting import eventually

RED, BLUE, GREEN = Category("red"), Category("blue"), Category("green")
TIMEOUT_S = 60.0


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


def test_a_category_that_is_changed_while_it_is_built_is_built_again(tmp_path: Path) -> None:
    """A person leaves an image out meanwhile: what is then built is not what is wanted, and nothing failed."""
    engine = CuratingEngine(tmp_path / "bank", gate=threading.Event())
    worker = Precompute(engine, retry_failed_after_s=300.0)
    worker.start()
    try:
        worker.want("1", [RED])
        assert eventually(lambda: worker.status(RED).stage == "generating")
        engine.curator.reject(RED, [0])
        engine.gate.set()
        worker.wait([RED], TIMEOUT_S)
        assert worker.status(RED).state == "ready", worker.status(RED)
        assert worker.ready([RED]) == {RED: engine.category_key(RED)}
        assert len(engine.built) == 2
    finally:
        engine.gate.set()
        worker.stop(timeout_s=1.0)


def test_what_the_bank_has_is_not_built_again(precompute: Precompute, engine: FakeEngine, tmp_path: Path) -> None:
    FakeEngine(tmp_path / "bank").build(RED)
    precompute.want("1", [RED, BLUE])
    precompute.wait([RED, BLUE], TIMEOUT_S)
    assert engine.built == ["blue"]


def test_sets_that_nobody_judged_are_judged_when_nothing_is_to_be_built(
    precompute: Precompute, engine: FakeEngine, tmp_path: Path
) -> None:
    earlier = FakeEngine(tmp_path / "bank")
    for category in (RED, BLUE):
        earlier.build(category)
        path = tmp_path / "bank" / f"{engine.category_key(category)}.json"
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "judgement"}))
    precompute.want("1", [RED, BLUE, GREEN])
    precompute.wait([RED, BLUE, GREEN], TIMEOUT_S)
    assert eventually(lambda: engine.judged == ["red", "blue"], TIMEOUT_S)
    assert engine.built == ["green"] and engine.judgement(RED) is not None


def test_who_asks_for_what_is_ready_wakes_nobody_who_waits(
    precompute: Precompute, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    precompute.want("1", [RED, GREEN])
    precompute.wait([RED, GREEN], TIMEOUT_S)
    engine.gate = threading.Event()
    precompute.want("2", [BLUE])
    looked, is_settled = [], precompute._is_settled

    def noted(categories: Iterable[Category]) -> bool:
        looked.append(categories)
        return is_settled(categories)

    monkeypatch.setattr(precompute, "_is_settled", noted)
    waiter = threading.Thread(target=precompute.wait, args=([BLUE], TIMEOUT_S))
    waiter.start()
    assert eventually(lambda: len(looked) > 0)
    for _ in range(50):
        precompute.standing([RED, GREEN])
        time.sleep(0.001)  # the waiting thread would look now
    before = len(looked)
    engine.gate.set()
    waiter.join(TIMEOUT_S)
    assert before < 10


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


@pytest.fixture
def ahead(tmp_path: Path) -> Iterator[tuple[Precompute, DrawingAheadEngine]]:
    """A worker on an engine that draws three categories together; it does not run yet."""
    engine = DrawingAheadEngine(tmp_path / "bank", drawing_gate=threading.Event())
    worker = Precompute(engine, retry_failed_after_s=300.0)
    yield worker, engine
    assert engine.drawing_gate is not None
    engine.drawing_gate.set()
    worker.stop(timeout_s=1.0)


def test_an_engine_that_draws_several_categories_gets_those_whose_turns_come_next(
    ahead: tuple[Precompute, DrawingAheadEngine],
) -> None:
    worker, engine = ahead
    others = [Category(name) for name in ("white", "yellow", "boat")]
    worker.want("1", [RED, BLUE, GREEN, others[0]])
    worker.want("2", others[1:])
    worker.start()
    assert eventually(lambda: worker.status(RED).progress == 0.4)
    assert engine.drawing_gate is not None
    engine.drawing_gate.set()
    everything = [RED, BLUE, GREEN, *others]
    worker.wait(everything, TIMEOUT_S)
    assert states(worker, *everything) == ["ready"] * 6
    assert engine.ahead == [["red", "yellow", "blue"], ["boat", "green", "white"]]  # in the order of the turns
    assert engine.built == ["red", "yellow", "blue", "boat", "green", "white"]


def test_drawing_several_categories_ends_when_nobody_wants_the_first_any_more(
    ahead: tuple[Precompute, DrawingAheadEngine],
) -> None:
    worker, engine = ahead
    worker.want("1", [RED, BLUE])
    worker.start()
    assert eventually(lambda: worker.status(RED).progress == 0.4)
    worker.want("1", [BLUE])
    assert engine.drawing_gate is not None
    engine.drawing_gate.set()
    worker.wait([BLUE], TIMEOUT_S)
    assert engine.built == ["blue"] and engine.ahead == [["red", "blue"]]


@pytest.mark.parametrize("progress", [0.4, 0.5])
def test_what_was_drawn_for_a_category_that_nobody_wanted_any_more_is_no_part_of_its_next_build(
    ahead: tuple[Precompute, DrawingAheadEngine], progress: float
) -> None:
    """It was then built alone, in seconds that were spent long before. It is dropped while both are drawn, or after."""
    worker, engine = ahead
    engine.gate = threading.Event()
    worker.want("1", [RED, BLUE])
    worker.start()
    assert engine.drawing_gate is not None
    if progress > 0.4:
        engine.drawing_gate.set()
    assert eventually(lambda: worker.status(RED).progress == progress)
    worker.want("1", [RED])
    engine.drawing_gate.set()
    engine.gate.set()
    worker.wait([RED], TIMEOUT_S)
    worker.want("1", [BLUE, GREEN])
    worker.wait([BLUE, GREEN], TIMEOUT_S)
    assert engine.ahead == [["red", "blue"], ["blue", "green"]]


def test_waiting_ends_after_the_timeout(precompute: Precompute, engine: FakeEngine) -> None:
    engine.gate = threading.Event()
    precompute.want("1", [RED])
    precompute.wait([RED], 0.05)
    assert precompute.ready([RED]) == {}


def test_projects_take_turns(precompute: Precompute, engine: FakeEngine) -> None:
    engine.gate = threading.Event()
    many, few = [Category(f"{number} red") for number in range(4)], [GREEN, BLUE]
    precompute.want("1", many)
    assert eventually(lambda: states(precompute, many[0]) == ["building"])
    precompute.want("2", few)
    precompute.want("1", many)  # such as a page of the first project that is opened again
    engine.gate.set()
    precompute.wait([*many, *few], TIMEOUT_S)
    assert engine.built == ["0 red", "1 red", "green", "2 red", "blue", "3 red"]


def test_nobody_waits_while_the_bank_is_asked(
    precompute: Precompute, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    has, slow, asked = engine.has, threading.Event(), threading.Event()

    def has_slowly(category: Category) -> bool:
        if category == RED:
            asked.set()
            slow.wait(TIMEOUT_S)
        return has(category)

    monkeypatch.setattr(engine, "has", has_slowly)
    precompute.want("1", [RED])
    assert asked.wait(TIMEOUT_S)
    with ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(precompute.want, "2", [BLUE]).result(TIMEOUT_S / 2)
            assert pool.submit(states, precompute, BLUE).result(TIMEOUT_S / 2) == ["queued"]
        finally:
            slow.set()


def test_a_look_asks_for_one_category_not_for_those_of_all_projects(
    precompute: Precompute, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    has = engine.has

    def has_noted(category: Category) -> bool:
        asked.append(category.name)
        return has(category)

    monkeypatch.setattr(engine, "has", has_noted)
    for project in range(5):
        categories = [Category(f"{number} red") for number in range(4)]
        precompute.want(str(project), categories)
        precompute.wait(categories, TIMEOUT_S)
    asked.clear()
    precompute.want("new", [GREEN])
    precompute.wait([GREEN], TIMEOUT_S)
    assert set(asked) == {"green"}


def test_a_category_whose_key_changes_is_built_again(
    precompute: Precompute, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a person rejects one of its support images by a command, while the service runs."""
    precompute.want("1", [RED, BLUE])
    precompute.wait([RED, BLUE], TIMEOUT_S)
    old, key = precompute.ready([RED, BLUE]), engine.category_key
    changed = Category("red", ("another red",))
    monkeypatch.setattr(engine, "category_key", lambda category: key(changed if category == RED else category))
    assert precompute.ready([RED, BLUE]) == {BLUE: old[BLUE]}
    precompute.wait([RED], TIMEOUT_S)
    assert precompute.ready([RED, BLUE]) == {BLUE: old[BLUE], RED: key(changed)}
    assert engine.built == ["red", "blue", "red"]


def test_what_no_project_wants_is_not_waited_for(precompute: Precompute, engine: FakeEngine) -> None:
    waiter = threading.Thread(target=precompute.wait, args=([GREEN], 60.0), daemon=True)
    waiter.start()
    waiter.join(TIMEOUT_S)
    assert not waiter.is_alive()
    assert (
        str(precompute.status(GREEN))
        == "unwanted: the label config in force does not have it; opening the project's page renews that"
    )
    assert engine.built == []


def test_what_no_project_wants_is_ready_if_the_bank_has_it(precompute: Precompute, engine: FakeEngine) -> None:
    engine.build(GREEN)
    assert states(precompute, GREEN) == ["ready"]


def test_a_forgotten_project_gets_nothing_built(precompute: Precompute, engine: FakeEngine) -> None:
    engine.gate = threading.Event()
    precompute.want("1", [RED, BLUE])
    precompute.want("2", [GREEN])
    assert eventually(lambda: states(precompute, RED) == ["building"])
    precompute.forget("1")
    assert states(precompute, BLUE) == ["unwanted"]
    engine.gate.set()
    precompute.wait([GREEN], TIMEOUT_S)
    assert engine.built == ["green"]


def test_a_label_that_was_mistyped_is_given_up_for_the_right_one(precompute: Precompute, engine: FakeEngine) -> None:
    engine.gate = threading.Event()
    precompute.want("1", [RED])
    assert eventually(lambda: states(precompute, RED) == ["building"])
    precompute.want("1", [BLUE])
    engine.gate.set()
    precompute.wait([BLUE], TIMEOUT_S)
    assert engine.built == ["blue"]
    assert states(precompute, RED, BLUE) == ["unwanted", "ready"]
    precompute.want("1", [RED, BLUE])
    precompute.wait([RED], TIMEOUT_S)
    assert engine.built == ["blue", "red"]


def test_what_two_projects_want_stays_wanted_when_one_is_forgotten(precompute: Precompute, engine: FakeEngine) -> None:
    engine.gate = threading.Event()
    precompute.want("1", [RED, BLUE])
    precompute.want("2", [BLUE])
    precompute.forget("1")
    engine.gate.set()
    precompute.wait([BLUE], TIMEOUT_S)
    assert states(precompute, BLUE) == ["ready"]


@pytest.mark.parametrize(("build_s", "waits"), [(30.0, True), (40.0, False)])
def test_nobody_waits_where_by_the_measured_time_the_wait_would_be_in_vain(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, build_s: float, waits: bool
) -> None:
    now_s, build = 0.0, engine.build

    def slow(category: Category, progress: Callable[[str, float], None] | None = None) -> None:
        nonlocal now_s
        now_s += build_s
        build(category, progress)

    monkeypatch.setattr(engine, "build", slow)
    precompute = Precompute(engine, retry_failed_after_s=300.0, clock_s=lambda: now_s)
    precompute.start()
    precompute.want("1", [RED])
    precompute.wait([RED], 60.0)  # nothing is measured yet, so it waits
    assert precompute.ready([RED])
    engine.gate = threading.Event()
    two = [BLUE, GREEN]  # the first is half done, as the fake tells: 1.5 builds are left
    precompute.want("1", two)
    assert eventually(lambda: precompute.status(BLUE).progress == 0.5)
    waiter = threading.Thread(target=precompute.wait, args=(two, 50.0), daemon=True)
    waiter.start()
    waiter.join(0.3 if waits else 10.0)
    assert waiter.is_alive() == waits
    engine.gate.set()
    waiter.join(60)
    precompute.stop()


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
    waiter.join(30)
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


def test_a_set_that_vanishes_is_noticed_by_whoever_asks_for_it(precompute: Precompute, engine: FakeEngine) -> None:
    precompute.want("1", [RED])
    precompute.wait([RED], TIMEOUT_S)
    Bank(engine.folder).remove(engine.category_key(RED))
    assert states(precompute, RED) == ["queued"]
    precompute.wait([RED], TIMEOUT_S)
    assert engine.built == ["red", "red"]


def test_what_is_finished_while_the_bank_is_asked_is_ready(
    precompute: Precompute, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    precompute.want("1", [RED])
    precompute.wait([RED], TIMEOUT_S)
    answers = iter([False, True])
    monkeypatch.setattr(engine, "has", lambda category: next(answers))
    assert states(precompute, RED) == ["ready"]


def test_what_a_full_disk_stopped_is_made_when_there_is_room_though_nobody_asks(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[Path] = []

    def full(path: Path, data: bytes) -> None:
        tries.append(path)
        raise OSError(errno.ENOSPC, "No space left on device")

    precompute = Precompute(engine, retry_failed_after_s=0.02)
    precompute.start()
    try:
        with monkeypatch.context() as patched:
            patched.setattr(bank_files, "write_whole", full)
            precompute.want("1", [RED, BLUE, GREEN])
            assert eventually(lambda: len(tries) >= 3)
        assert eventually(lambda: all(map(engine.has, (RED, BLUE, GREEN))))
    finally:
        precompute.stop()
    first = next(record.message for record in caplog.records if record.levelname == "ERROR")
    assert first.startswith("Every category failed: Prototype set") and "No space left" in first
    assert first.endswith("Tried again by itself after 0.02 s.")


def test_a_full_disk_is_tried_with_one_category_until_the_clock_says_so(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    tries: list[Path] = []

    def full(path: Path, data: bytes) -> None:
        tries.append(path)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bank_files, "write_whole", full)
    precompute = Precompute(engine, retry_failed_after_s=300.0, clock_s=lambda: now_s)
    precompute.start()
    precompute.want("1", [RED, BLUE])
    precompute.wait([RED, BLUE], TIMEOUT_S)
    precompute.want("2", [GREEN])
    precompute.wait([GREEN], TIMEOUT_S)
    assert len(tries) == 1
    assert states(precompute, RED, BLUE, GREEN) == ["failed"] * 3
    now_s = 301.0
    precompute.want("3", [])  # wakes the worker, which would otherwise look at this clock in 300 s
    assert eventually(lambda: len(tries) == 2)
    precompute.stop()


def test_a_category_that_failed_by_its_own_fault_waits_until_it_is_asked_for(engine: FakeEngine) -> None:
    now_s = 0.0
    engine.failing = frozenset({"red"})
    precompute = Precompute(engine, retry_failed_after_s=300.0, clock_s=lambda: now_s)
    precompute.start()
    precompute.want("1", [RED])
    precompute.wait([RED], TIMEOUT_S)
    engine.failing, now_s = frozenset(), 301.0
    precompute.want("2", [BLUE])
    precompute.wait([BLUE], TIMEOUT_S)
    assert states(precompute, RED, BLUE) == ["failed", "ready"]
    precompute.stop()


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


@pytest.mark.parametrize("kind", [WeightsError, DeviceMemoryError, StorageError])
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
        for wanted in ([RED, BLUE, GREEN], [GREEN, RED, BLUE]):
            precompute.want("1", wanted)
            precompute.wait(wanted, TIMEOUT_S)
        assert tried == ["red"]
        assert {precompute.status(each).reason for each in (RED, BLUE, GREEN)} == {
            "'some/model' does not load: the hub cannot be reached."
        }
        assert precompute.failed_for_all == "'some/model' does not load: the hub cannot be reached."
        (error,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
        assert error.startswith("Every category failed: 'some/model'") and "after 300 s" in error
    now_s = 301.0
    precompute.want("1", [RED, BLUE, GREEN])
    assert eventually(lambda: states(precompute, RED, BLUE, GREEN) == ["ready"] * 3)
    assert precompute.failed_for_all == ""
    precompute.stop()


def test_a_failure_of_all_is_forgotten_and_costs_no_time_once_nothing_is_to_be_made(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def clock_s() -> float:
        nonlocal looks
        looks += 1
        return time.monotonic()

    def unreachable(category: Category, progress: object) -> None:
        raise WeightsError("the hub cannot be reached.")

    monkeypatch.setattr(engine, "build", unreachable)
    precompute = Precompute(engine, retry_failed_after_s=0.05, clock_s=clock_s)
    precompute.start()
    precompute.want("1", [RED])
    assert eventually(lambda: precompute.failed_for_all == "the hub cannot be reached.")
    precompute.forget("1")
    assert eventually(lambda: precompute.failed_for_all == "")
    before = looks
    time.sleep(0.2)  # four times the time until the next try
    precompute.stop()
    assert looks - before < 10


def test_the_log_says_when_a_build_begins_and_ends(
    precompute: Precompute, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "backend.serving.preparing.precompute"):
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
    waiter.join(30)
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
    precompute.wait([RED], TIMEOUT_S)
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


def test_the_worker_outlives_what_an_engine_raises_besides_builds(tmp_path: Path) -> None:
    class Broken(FakeEngine):
        def being_built(self, category: Category) -> str | None:
            raise RuntimeError("an engine of another package")

    precompute = Precompute(Broken(tmp_path), retry_failed_after_s=300.0)
    precompute.start()
    try:
        precompute.want("1", [RED])
        precompute.wait([RED], TIMEOUT_S)
        assert precompute.status(RED).reason.startswith("unexpected RuntimeError")
        assert not precompute.failed_for_all
    finally:
        precompute.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_has_died_is_told(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    precompute = Precompute(engine, retry_failed_after_s=1.0)
    assert not precompute.failed_for_all, "it was not started yet"
    monkeypatch.setattr(precompute, "_next_turn", lambda: 1 / 0)
    precompute.start()
    assert eventually(lambda: "has ended, the service's log says why" in precompute.failed_for_all)
    precompute.stop()
    assert not precompute.failed_for_all


class SharedEngine(FakeEngine):
    """An engine on a bank where others build, too."""

    elsewhere: tuple[str, ...] = ()

    def being_built(self, category: Category) -> str | None:
        return "another machine" if category.name in self.elsewhere else None


def test_what_another_service_builds_just_now_comes_after_the_rest(tmp_path: Path) -> None:
    engine = SharedEngine(tmp_path / "bank")
    engine.elsewhere = ("red", "blue")
    worker = Precompute(engine, retry_failed_after_s=300.0)
    worker.want("1", [RED, BLUE, GREEN])
    worker.start()
    try:
        worker.wait([RED, BLUE, GREEN], TIMEOUT_S)
        assert engine.built == ["green", "red", "blue"]
    finally:
        worker.stop(timeout_s=1.0)
