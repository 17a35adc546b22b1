import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backend.serving.preparing.precompute import Precompute
from backend.serving.projects import Projects, id_of
from backend.serving.read_back import AGAIN_S, DAY_S, PAUSE_S, ReadBack
from backend.serving.store import Store
from backend.settings import LabelStudioSettings
from backend.sources.label_studio import LabelStudioClient
from tests.fakes.engine import FakeEngine
from tests.fakes.label_studio import LEGACY_TOKEN, PROJECT_UID, FakeLabelStudio
from tests.fakes.waiting import eventually

GONE_UID, ANEW_UID = "2.1795200099", "1.1000000000"  # the fake Label Studio has project 1 alone


def config(*labels: str) -> str:
    body = "".join(f'<Label value="{label}"/>' for label in labels)
    return f'<View><Image name="i" value="$image"/><BrushLabels name="b" toName="i">{body}</BrushLabels></View>'


class World:
    """Projects beside a real server that plays Label Studio, with a clock that is set by hand."""

    def __init__(self, folder: Path, settings: LabelStudioSettings) -> None:
        self.now_s = 0.0
        self.store = Store(folder / "state.sqlite", event_rows=10)
        self.read_back = self.of(settings)
        self.projects = Projects(
            self.store,
            Precompute(FakeEngine(folder / "bank"), retry_failed_after_s=300.0),
            max_categories=10,
            ask_about=lambda uid: self.read_back.soon(id_of(uid)),
            clock_s=lambda: self.now_s,
        )

    def of(self, settings: LabelStudioSettings) -> ReadBack:
        return ReadBack(LabelStudioClient(settings), clock_s=lambda: self.now_s, look_every_s=0.02)

    def a_day_later(self) -> None:
        self.now_s += DAY_S
        self.read_back.ask_about_quiet(self.projects)

    def labels(self, uid: str) -> list[str]:
        found = self.projects.states()[uid].labelling
        return [] if found is None else [category.name for category in found.categories]


@pytest.fixture
def settings(label_studio: FakeLabelStudio) -> LabelStudioSettings:
    label_studio.label_config = config("red")
    return LabelStudioSettings(url=label_studio.url, api_key=LEGACY_TOKEN)


@pytest.fixture
def world(tmp_path: Path, settings: LabelStudioSettings) -> Iterator[World]:
    made = World(tmp_path, settings)
    yield made
    made.read_back.stop()


def test_a_project_that_label_studio_has_no_more_is_forgotten_after_a_quiet_day(world: World) -> None:
    world.projects.setup(PROJECT_UID, config("red"))
    world.projects.setup(GONE_UID, config("blue"))
    world.read_back.ask_about_quiet(world.projects)
    assert sorted(world.projects.states()) == [PROJECT_UID, GONE_UID]
    world.a_day_later()
    assert list(world.projects.states()) == [PROJECT_UID] == list(world.store.label_configs())


def test_quiet_projects_are_asked_for_once_a_day(world: World, label_studio: FakeLabelStudio) -> None:
    world.projects.setup(PROJECT_UID, config("red"))
    for _ in range(2):
        label_studio.requests.clear()
        world.a_day_later()
        world.now_s += DAY_S / 2
        world.read_back.ask_about_quiet(world.projects)
        assert label_studio.paths() == ["/api/projects/1/"]
        world.now_s -= DAY_S / 2


def test_a_project_that_is_in_use_is_not_asked_for(world: World, label_studio: FakeLabelStudio) -> None:
    world.projects.setup(GONE_UID, config("blue"))
    world.now_s += DAY_S * 0.9
    world.projects.of_prediction(GONE_UID, config("blue"))
    world.now_s += DAY_S * 0.9
    world.read_back.ask_about_quiet(world.projects)
    assert label_studio.requests == []


def test_the_daily_question_also_brings_a_config_that_changed_unnoticed(
    world: World, label_studio: FakeLabelStudio
) -> None:
    world.projects.setup(PROJECT_UID, config("red"))
    label_studio.label_config = config("red", "green")
    world.a_day_later()
    assert world.labels(PROJECT_UID) == ["red", "green"]


def test_an_id_that_was_given_anew_says_nothing_of_the_old_project_but_that_it_is_gone(world: World) -> None:
    world.projects.setup(ANEW_UID, config("blue"))
    world.read_back.ask(1, world.projects)
    assert world.labels(ANEW_UID) == ["blue"]
    assert list(world.projects.states()) == [ANEW_UID]
    world.a_day_later()
    assert world.projects.states() == {}


def test_a_project_whose_name_is_its_id_alone_is_not_taken_for_another(world: World) -> None:
    world.projects.setup("1", config("blue"))
    world.a_day_later()
    assert world.labels("1") == ["red"]


@pytest.mark.parametrize("wrong", [{"api_key": "wrong"}, {"url": "http://127.0.0.1:9"}])
def test_an_unreachable_label_studio_and_a_refused_token_say_nothing(
    world: World, settings: LabelStudioSettings, wrong: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    world.projects.setup(GONE_UID, config("blue"))
    world.projects.setup("3.1", config("blue"))
    right, world.read_back = world.read_back, world.of(replace(settings, **wrong))
    world.a_day_later()
    assert len(world.projects.states()) == 2
    assert len(caplog.messages) == 1  # the others would only wait as long
    world.now_s += PAUSE_S - 1
    world.read_back.ask_about_quiet(world.projects)
    assert len(caplog.messages) == 1
    world.now_s += 1
    world.read_back.ask_about_quiet(world.projects)
    assert len(caplog.messages) == 2
    right.ask_about_quiet(world.projects)
    assert world.projects.states() == {}


def test_an_answer_that_is_not_label_studios_says_nothing(
    world: World, settings: LabelStudioSettings, label_studio: FakeLabelStudio
) -> None:
    label_studio.files["/elsewhere/api/projects/2/"] = ("text/html", b"<html>")
    world.projects.setup(GONE_UID, config("blue"))
    world.read_back = world.of(replace(settings, url=f"{label_studio.url}/elsewhere"))
    world.a_day_later()
    assert list(world.projects.states()) == [GONE_UID]


def test_without_a_token_nothing_is_asked_and_only_what_a_prediction_brought_is_forgotten(
    world: World, settings: LabelStudioSettings, label_studio: FakeLabelStudio
) -> None:
    world.read_back = world.of(replace(settings, api_key=""))
    world.projects.setup(GONE_UID, config("blue"))
    world.projects.of_prediction("3.1", config("blue"))
    world.a_day_later()
    assert list(world.projects.states()) == [GONE_UID]
    assert label_studio.requests == []


def test_what_is_asked_for_soon_is_asked_for_in_the_background(world: World) -> None:
    world.projects.setup(PROJECT_UID, config("blue"))
    world.read_back.start(world.projects)
    world.projects.setup(PROJECT_UID, config("green"))
    assert eventually(lambda: world.labels(PROJECT_UID) == ["red"])


def test_who_asks_now_does_not_wait_for_what_is_done_with_a_project_that_was_found(
    world: World, settings: LabelStudioSettings
) -> None:
    world.projects.setup(PROJECT_UID, config("blue"))
    told = list[str]()
    read_back = ReadBack(LabelStudioClient(settings), found=told.append, look_every_s=0.02)
    assert read_back.ask(1, world.projects) and world.labels(PROJECT_UID) == ["red"]
    assert not told
    read_back.start(world.projects)
    assert eventually(lambda: told == [PROJECT_UID])
    read_back.stop()


def test_what_could_not_be_read_is_asked_for_again_after_a_while(world: World, label_studio: FakeLabelStudio) -> None:
    world.projects.setup(PROJECT_UID, config("red"))
    label_studio.label_config = config("red", "blue")
    whole, label_studio.admits = label_studio.admits, lambda _authorization: False  # type: ignore[method-assign]
    world.read_back.start(world.projects)
    world.read_back.soon(1)
    assert eventually(lambda: world.read_back._again_s != {})
    label_studio.admits = whole  # type: ignore[method-assign]
    assert not eventually(lambda: len(label_studio.requests) > 1, timeout_s=0.2)
    world.now_s = AGAIN_S
    assert eventually(lambda: world.labels(PROJECT_UID) == ["red", "blue"])
    world.now_s = 2 * AGAIN_S
    assert not eventually(lambda: len(label_studio.requests) > 2, timeout_s=0.2)


def test_who_is_asked_for_soon_does_not_wait_for_the_quiet_projects(
    world: World, label_studio: FakeLabelStudio
) -> None:
    world.projects.setup(GONE_UID, config("blue"))
    world.read_back.soon(1)
    world.a_day_later()
    assert label_studio.requests == []


def test_an_unknown_project_is_not_asked_for(world: World, label_studio: FakeLabelStudio) -> None:
    assert world.read_back.ask(1, world.projects)
    assert label_studio.requests == []


def test_a_running_service_notices_what_a_command_marked(world: World) -> None:
    world.projects.setup(PROJECT_UID, config("red"))
    world.read_back.start(world.projects)
    world.store.mark_forgotten(PROJECT_UID)
    assert eventually(lambda: world.projects.states() == {})
    assert eventually(lambda: world.store.marks().forgotten == frozenset())


def test_the_thread_outlives_what_nobody_expected(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed = threading.Event()

    def fail(projects: Projects) -> None:
        failed.set()
        raise ZeroDivisionError

    world.projects.setup(PROJECT_UID, config("blue"))
    with monkeypatch.context() as patched:
        patched.setattr(world.read_back, "ask_about_quiet", fail)
        world.read_back.start(world.projects)
        assert failed.wait(60)
    world.read_back.soon(1)
    assert eventually(lambda: world.labels(PROJECT_UID) == ["red"])
    assert "ZeroDivisionError" in caplog.text
