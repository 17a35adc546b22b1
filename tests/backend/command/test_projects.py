import json
from dataclasses import replace
from pathlib import Path

import pytest

from backend.command import cli
from backend.command.projects import known_projects
from backend.serving.http.app import create_app
from backend.serving.store import Store
from backend.settings import LabelStudioSettings, Settings
from ovdiff.vocabulary import Category
from tests.fakes.engine import FakeEngine
from tests.fakes.waiting import eventually

UID, OTHER_UID, SECOND_UID = "3.1795200099", "12.1795200100", "3.1795300000"


def config(*labels: str) -> str:
    body = "".join(f'<Label value="{label}"/>' for label in labels)
    return f'<View><Image name="i" value="$image"/><BrushLabels name="b" toName="i">{body}</BrushLabels></View>'


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    return Settings(data_dir=tmp_path / "data", label_studio=LabelStudioSettings(api_key=""))


@pytest.fixture
def store(settings: Settings) -> Store:
    made = Store(settings.state_file, event_rows=10)
    made.save_label_config(OTHER_UID, config("a", "b", "c", "d", "e", "f", "g"))
    made.save_label_config(UID, config("boat", "water"))
    return made


def run(*arguments: str) -> int:
    return cli.main(["projects", *arguments])


def test_projects_are_listed_with_their_labels(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.save_label_config("99", "<View/>")
    assert run("list") == 0
    header, first, second, third = capsys.readouterr().out.splitlines()
    assert header.split() == ["project", "created", "labels", "config", "changed", "which"]
    assert first.split()[:4] == ["3", "2026-11-20", "18:41", "UTC"] and first.endswith("UTC  boat, water")
    assert second.split()[0] == "12" and second.endswith("a, b, c, d, e, and 2 more")
    assert third.split()[0] == "99" and third.endswith("its label config cannot be used")


def test_projects_are_listed_for_programs(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [project["uid"] for project in found] == [UID, OTHER_UID]
    assert found[0]["project"] == 3 and found[0]["labels"] == ["boat", "water"]
    assert found[0]["created_at"] == "2026-11-20T18:41:39+00:00"
    assert found[0]["label_config_changed_at"] == store.projects()[1].changed_at


def test_without_a_state_file_there_is_nothing_to_list_and_none_is_made(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("list") == 0
    assert "no projects in" in capsys.readouterr().out
    assert not settings.data_dir.exists()


def test_a_project_is_forgotten_by_its_number(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.save_label_config(SECOND_UID, config("boat"))
    assert run("forget", "3") == 0
    assert list(store.label_configs()) == [OTHER_UID]
    assert f"forgotten: {UID}, {SECOND_UID}." in capsys.readouterr().out


def test_a_project_is_forgotten_by_its_uid(store: Store) -> None:
    store.save_label_config(SECOND_UID, config("boat"))
    assert run("forget", UID, OTHER_UID) == 0
    assert list(store.label_configs()) == [SECOND_UID]


def test_an_unknown_project_is_named_and_nothing_is_forgotten(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("forget", "3", "4") == 2
    assert "There is no project '4' in" in (said := capsys.readouterr().err)
    assert f"it has: {UID}, {OTHER_UID}." in said
    assert len(store.label_configs()) == 2


def test_a_running_service_forgets_it_too(settings: Settings, store: Store) -> None:
    service = create_app(settings, FakeEngine(settings.bank_dir)).extensions["ovdiff"]
    try:
        assert set(service.status()["projects"]) == {UID, OTHER_UID}
        assert run("forget", "3") == 0
        assert eventually(lambda: set(service.status()["projects"]) == {OTHER_UID})
        assert eventually(lambda: store.marks().forgotten == frozenset())
    finally:
        service.stop()


def test_a_service_that_starts_later_does_not_know_it(settings: Settings, store: Store) -> None:
    assert run("forget", "3") == 0
    service = create_app(settings, FakeEngine(settings.bank_dir)).extensions["ovdiff"]
    service.stop()
    assert set(service.status()["projects"]) == {OTHER_UID}


def test_a_running_service_writes_its_projects_into_a_new_state_file(settings: Settings, store: Store) -> None:
    service = create_app(replace(settings), FakeEngine(settings.bank_dir)).extensions["ovdiff"]
    try:
        settings.state_file.unlink()
        assert eventually(lambda: set(store.label_configs()) == {UID, OTHER_UID})
    finally:
        service.stop()


def test_the_projects_of_the_state_file_are_known(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert known_projects(settings) == {}
    assert not settings.state_file.exists()
    store = Store(settings.state_file, event_rows=1)
    store.save_label_config(
        "3.1",
        '<View><Image name="i" value="$i"/><BrushLabels name="b" toName="i">'
        '<Label value="crab" prompts="red crab"/></BrushLabels></View>',
    )
    store.save_label_config("4.1", "<View>")
    assert known_projects(settings) == {"3.1": (Category("crab", ("red crab",)),)}
