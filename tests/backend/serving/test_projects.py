import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backend.errors import StoreError, UnusableLabelConfigError
from backend.serving import projects as projects_module
from backend.serving.preparing.precompute import Precompute
from backend.serving.projects import Projects, ProjectState, id_of
from backend.serving.store import Marks, Store
from backend.serving.vocabulary import Labelling, read_labelling
from ovdiff.vocabulary import Category
from tests.fakes.engine import FakeEngine
from tests.fakes.waiting import eventually

UID = "7.1795200099"
TIMEOUT_S = 60.0


def config(*labels: str) -> str:
    body = "".join(f'<Label value="{label}"/>' for label in labels)
    return f'<View><Image name="i" value="$image"/><BrushLabels name="b" toName="i">{body}</BrushLabels></View>'


def labelling(*labels: str) -> Labelling:
    return read_labelling(config(*labels), max_categories=10)


class World:
    """Projects on a real state file, with a clock that is set by hand, and a list in place of Label Studio."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state.sqlite"
        self.store = Store(self.path, event_rows=10)
        self.precompute = Precompute(FakeEngine(folder / "bank"), retry_failed_after_s=300.0)
        self.asked: list[str] = []
        self.now_s = 0.0
        self.projects = self.restarted()

    def restarted(self) -> Projects:
        made = Projects(
            self.store,
            self.precompute,
            max_categories=10,
            ask_about=self.asked.append,
            clock_s=lambda: self.now_s,
        )
        made.start()
        return made

    def in_force(self, uid: str = UID) -> list[str]:
        found = self.projects.states()[uid].labelling
        return [] if found is None else [category.name for category in found.categories]

    def wanted(self, *names: str) -> list[str]:
        return [name for name in names if self.precompute.status(Category(name)).state != "unwanted"]

    def stored(self) -> dict[str, str]:
        return Store(self.path, event_rows=10).label_configs()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[threading.Event, threading.Event]]:
    """Return a function that holds up the reading of one label config; it returns "reached" and "go on"."""

    def hold(label_config: str) -> tuple[threading.Event, threading.Event]:
        reached, go_on = threading.Event(), threading.Event()

        def read(text: str, *, max_categories: int) -> Labelling:
            if text == label_config:
                reached.set()
                assert go_on.wait(TIMEOUT_S)
            return read_labelling(text, max_categories=max_categories)

        monkeypatch.setattr(projects_module, "read_labelling", read)
        return reached, go_on

    return hold


def test_an_unusable_config_leaves_the_usable_one_in_force(world: World) -> None:
    world.projects.setup(UID, config("red"))
    with pytest.raises(UnusableLabelConfigError, match="shows no <Image>"):
        world.projects.setup(UID, "<View/>")
    state = world.projects.states()[UID]
    assert state.labelling == labelling("red")
    assert "shows no <Image>" in (state.error or "")
    assert world.stored() == {UID: config("red")}


def test_a_usable_config_ends_the_error(world: World) -> None:
    with pytest.raises(UnusableLabelConfigError):
        world.projects.setup(UID, "<View/>")
    world.projects.setup(UID, config("red"))
    assert world.projects.states() == {UID: ProjectState(labelling("red"))}


def test_setup_puts_a_config_in_force_everywhere(world: World) -> None:
    world.projects.setup(UID, config("red", "blue"))
    world.projects.setup(UID, config("blue", "green"))
    assert world.in_force() == ["blue", "green"]
    assert world.wanted("red", "blue", "green") == ["blue", "green"]
    assert world.stored() == {UID: config("blue", "green")}


def test_a_prediction_decides_nothing_for_a_known_project(world: World) -> None:
    world.projects.setup(UID, config("red"))
    assert world.projects.of_prediction(UID, config("blue")) == labelling("blue")
    assert (world.in_force(), world.wanted("red", "blue")) == (["red"], ["red"])
    assert world.stored() == {UID: config("red")}


def test_a_prediction_decides_nothing_after_a_restart_either(world: World) -> None:
    world.projects.setup(UID, config("red"))
    world.projects = world.restarted()
    world.projects.of_prediction(UID, config("blue"))
    assert (world.in_force(), world.stored()) == (["red"], {UID: config("red")})


def test_an_unusable_config_of_a_prediction_is_only_its_own_error(world: World) -> None:
    world.projects.setup(UID, config("red"))
    for uid in (UID, "8.1"):
        with pytest.raises(UnusableLabelConfigError):
            world.projects.of_prediction(uid, "<View/>")
    assert world.projects.states() == {UID: ProjectState(labelling("red"))}


def test_label_studio_is_asked_once_about_a_config_that_contradicts_the_one_in_force(world: World) -> None:
    world.projects.setup(UID, config("red"))
    assert world.asked == []
    for _ in range(3):
        world.projects.of_prediction(UID, config("red"))
        world.projects.of_prediction(UID, config("blue"))
    assert world.asked == [UID]
    world.projects.of_prediction(UID, config("green"))
    assert world.asked == [UID, UID]


def test_a_prediction_of_an_unknown_project_is_better_than_nothing_until_somebody_decides(world: World) -> None:
    world.projects.of_prediction(UID, config("red"))
    assert (world.in_force(), world.wanted("red"), world.asked) == (["red"], ["red"], [UID])
    assert world.stored() == {}
    world.projects.of_prediction(UID, config("blue"))
    assert world.in_force() == ["blue"]
    world.projects.read_back(UID, config("green"), world.projects.next_order())
    world.projects.of_prediction(UID, config("red"))
    assert (world.in_force(), world.stored()) == (["green"], {UID: config("green")})


def test_what_only_a_prediction_carried_is_not_written_when_a_setup_fails(world: World) -> None:
    world.projects.of_prediction(UID, config("red"))
    with pytest.raises(UnusableLabelConfigError):
        world.projects.setup(UID, "<View/>")
    world.projects.agree_with_file()
    assert (world.in_force(), world.stored()) == (["red"], {})


def test_a_slow_setup_does_not_put_its_config_over_a_newer_one(
    world: World, held: Callable[[str], tuple[threading.Event, threading.Event]]
) -> None:
    reached, go_on = held(config("old"))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(world.projects.setup, UID, config("old"))
        assert reached.wait(TIMEOUT_S)
        world.projects.setup(UID, config("new"))
        go_on.set()
        assert slow.result(TIMEOUT_S) == labelling("old")
    assert (world.in_force(), world.wanted("old", "new")) == (["new"], ["new"])
    assert world.stored() == {UID: config("new")}
    assert world.asked == [UID]


def test_what_label_studio_answered_before_a_setup_does_not_put_its_config_over_it(world: World) -> None:
    world.projects.setup(UID, config("first"))
    asked = world.projects.next_order()
    world.projects.setup(UID, config("second"))
    world.projects.read_back(UID, config("first"), asked)
    assert (world.in_force(), world.stored()) == (["second"], {UID: config("second")})


def test_setups_that_were_sent_in_another_order_are_put_right_by_label_studio(world: World) -> None:
    world.projects.setup(UID, config("new"))
    world.projects.setup(UID, config("old"))  # sent before, received after
    assert world.asked == [UID]
    world.projects.read_back(UID, config("new"), world.projects.next_order())
    assert (world.in_force(), world.stored(), world.asked) == (["new"], {UID: config("new")}, [UID])


def test_a_slow_write_does_not_put_an_old_config_into_the_state_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, reached, go_on = world.store.save_label_config, threading.Event(), threading.Event()

    def slowly(uid: str, label_config: str) -> str:
        if label_config == config("old"):
            reached.set()
            assert go_on.wait(TIMEOUT_S)
        return save(uid, label_config)

    monkeypatch.setattr(world.store, "save_label_config", slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(world.projects.setup, UID, config("old"))
        assert reached.wait(TIMEOUT_S)
        second = pool.submit(world.projects.setup, UID, config("new"))
        assert eventually(lambda: world.in_force() == ["new"])  # nobody waits for the disk to know it
        go_on.set()
        first.result(TIMEOUT_S)
        second.result(TIMEOUT_S)
    assert (world.in_force(), world.stored()) == (["new"], {UID: config("new")})


def test_threads_end_with_one_truth(world: World) -> None:
    names = [f"label {number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            list(pool.map(lambda name: world.projects.setup(UID, config(name)), names))
            (name,) = world.in_force()
            assert (world.wanted(*names), world.stored()) == ([name], {UID: config(name)})


def test_an_id_that_was_given_anew_is_another_project(world: World) -> None:
    world.projects.setup("7.1000", config("red"))
    world.projects.setup("7.2000", config("blue"))
    world.projects.read_back("7.3000", config("green"), world.projects.next_order())
    assert (world.in_force("7.1000"), world.in_force("7.2000")) == (["red"], ["blue"])
    assert sorted(world.projects.states()) == sorted(world.projects.uids(7)) == ["7.1000", "7.2000"]


def test_a_forgotten_project_is_nowhere_until_its_next_setup(world: World) -> None:
    world.projects.setup(UID, config("red"))
    world.projects.forget(UID)
    assert (world.projects.states(), world.wanted("red"), world.stored()) == ({}, [], {})
    world.projects.read_back(UID, config("red"), world.projects.next_order())
    assert world.projects.states() == {}
    world.projects.setup(UID, config("red"))
    assert (world.in_force(), world.stored()) == (["red"], {UID: config("red")})


def test_what_a_command_marked_is_forgotten(world: World) -> None:
    world.projects.setup(UID, config("red"))
    world.projects.setup("8.1", config("blue"))
    Store(world.path, event_rows=10).mark_forgotten(UID)
    world.projects.agree_with_file()
    assert list(world.projects.states()) == ["8.1"] == list(world.stored())
    assert (world.wanted("red", "blue"), world.store.marks().forgotten) == (["blue"], frozenset())


def test_a_project_that_comes_back_after_the_mark_stays(world: World) -> None:
    world.projects.setup(UID, config("red"))
    Store(world.path, event_rows=10).mark_forgotten(UID)
    world.projects.setup(UID, config("red"))
    world.projects.agree_with_file()
    assert (world.in_force(), world.stored()) == (["red"], {UID: config("red")})


def test_a_project_that_comes_back_while_the_mark_is_read_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.projects.setup(UID, config("red"))
    Store(world.path, event_rows=10).mark_forgotten(UID)
    read = world.store.marks

    def marks_before_a_setup() -> Marks:
        marks = read()
        world.projects.setup(UID, config("red", "blue"))
        return marks

    monkeypatch.setattr(world.store, "marks", marks_before_a_setup)
    world.projects.agree_with_file()
    assert (world.in_force(), world.stored()) == (["red", "blue"], {UID: config("red", "blue")})


def test_a_state_file_that_was_deleted_is_written_again(world: World) -> None:
    world.projects.setup(UID, config("red"))
    world.projects.setup("8.1", config("blue"))
    world.projects.of_prediction("9.1", config("green"))
    world.path.unlink()
    world.projects.agree_with_file()
    assert world.stored() == {UID: config("red"), "8.1": config("blue")}


def test_a_state_file_that_was_put_back_from_a_copy_gets_what_is_in_force(world: World) -> None:
    world.projects.setup(UID, config("red"))
    old = world.path.read_bytes()
    world.projects.setup(UID, config("blue"))
    world.path.write_bytes(old)
    assert world.stored() == {UID: config("red")}
    world.projects.agree_with_file()
    assert world.stored() == {UID: config("blue")}


def test_what_a_full_disk_refused_is_written_when_there_is_room(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(uid: str, label_config: str) -> str:
        raise StoreError("database or disk is full") from sqlite3.OperationalError()

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "save_label_config", full)
        world.projects.setup(UID, config("red"))
        caplog.clear()
        for _ in range(3):
            world.projects.agree_with_file()
        assert caplog.messages == ["database or disk is full"]
        assert (world.in_force(), world.stored()) == (["red"], {})
    world.projects.agree_with_file()
    assert world.stored() == {UID: config("red")}


def test_only_projects_of_which_nothing_was_heard_or_asked_are_quiet(world: World) -> None:
    world.projects.setup("1.1", config("red"))
    world.now_s = 50.0
    world.projects.of_prediction("2.1", config("red"))
    world.now_s = 100.0
    assert world.projects.quiet(100.0) == ["1.1"]
    world.projects.note_asked("1.1")
    assert world.projects.quiet(100.0) == []
    world.projects = world.restarted()
    assert world.projects.quiet(100.0) == ["1.1"]


@pytest.mark.parametrize(
    ("uid", "expected"), [("7.1795200099", 7), ("7", 7), ("", None), ("x.1", None), ("-1.2", None), ("²", None)]
)
def test_the_id_of_a_project_is_the_part_before_the_dot(uid: str, expected: int | None) -> None:
    assert id_of(uid) == expected
