"""`ovdiff export` against a small server; a real Label Studio is in tests/end_to_end/test_export.py."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.command import cli
from backend.command.export import export_project
from backend.settings import LabelStudioSettings
from backend.sources.label_studio import LabelStudioClient
from tests.fakes.label_studio import LEGACY_TOKEN, PERSONAL_TOKEN, FakeLabelStudio
from tests.fakes.signals import terminal_signals

GOLDEN = Path(__file__).parents[2] / "converters/golden"


@pytest.fixture(autouse=True)
def project(label_studio: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeLabelStudio:
    """Project 1 holds a real project's tasks; the command asks for it, in a folder of its own."""
    label_studio.label_config = (GOLDEN / "corrections_config.xml").read_text("utf-8")
    label_studio.tasks = json.loads((GOLDEN / "corrections_snapshot.json").read_text("utf-8"))
    monkeypatch.setenv("LABEL_STUDIO_URL", label_studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", LEGACY_TOKEN)
    monkeypatch.chdir(tmp_path)
    return label_studio


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    with terminal_signals():
        yield


@pytest.mark.parametrize("token", [LEGACY_TOKEN, PERSONAL_TOKEN])
def test_three_commands_turn_a_project_into_a_report(
    project: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], token: str
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", token)
    assert cli.main(["export", "--project", "1"]) == 0
    said = capsys.readouterr().out
    wanted = [{key: value for key, value in task.items() if key != "drafts"} for task in project.tasks]
    assert json.loads(Path("project-1/export.json").read_text("utf-8")) == wanted
    assert Path("project-1/config.xml").read_text("utf-8") == project.label_config
    tasks, annotations = len(project.tasks), sum(len(task["annotations"]) for task in project.tasks)
    assert f"exported: {tasks} tasks with {annotations} annotations and" in said
    for command in [line.partition("ovdiff ")[2].split() for line in said.splitlines() if "ovdiff " in line]:
        assert cli.main(command) in (0, 3), command
    assert json.loads(Path("project-1/coco.json").read_text("utf-8"))["annotations"]
    assert Path("project-1/report/corrections.html").is_file()


def test_the_same_command_again_makes_both_files_anew(project: FakeLabelStudio) -> None:
    assert cli.main(["export", "--project", "1", "--out", "here"]) == 0
    project.tasks = project.tasks[:1]
    assert cli.main(["export", "--project", "1", "--out", "here"]) == 0
    assert len(json.loads(Path("here/export.json").read_text("utf-8"))) == 1
    assert sorted(path.name for path in Path("here").iterdir()) == ["config.xml", "export.json"]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("LABEL_STUDIO_API_KEY", "wrong", "Label Studio refused the token"),
        ("LABEL_STUDIO_API_KEY", "", "LABEL_STUDIO_API_KEY is not set"),
        ("LABEL_STUDIO_URL", "http://127.0.0.1:9", "did not answer at http://127.0.0.1:9/api/projects/1/"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert cli.main(["export", "--project", "1"]) == 1
    error = capsys.readouterr().err
    assert said in error and variable in error and "Traceback" not in error
    assert list(Path().iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "--project", "1", "--out", "/proc/here"]) == 1
    error = capsys.readouterr().err
    assert "The export of project 1 cannot be written: " in error and "'/proc/here'. Make room or name another" in error


def test_a_project_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "--project", "7"]) == 1
    error = capsys.readouterr().err
    assert "answered 404" in error and "/api/projects/7/" in error
    assert "stands in the address of its pages (/projects/N/)" in error
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("number", ["0", "-1", "three", "1.0", "9" * 5000])
def test_a_number_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], number: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["export", f"--project={number}"])
    assert "--project" in capsys.readouterr().err


def test_a_failure_half_way_says_how_far_it_was_and_leaves_older_files_alone(
    project: FakeLabelStudio, capsys: pytest.CaptureFixture[str]
) -> None:
    project.tasks = [{"id": number, "annotations": [], "predictions": []} for number in range(1, 31)]
    project.task_faults = [None, *[500] * 9]
    assert cli.main(["export", "--project", "1"]) == 1
    error = capsys.readouterr().err
    assert "10 of the 30 tasks of project 1 had arrived. Nothing was written; run the same command again." in error
    assert list(Path().iterdir()) == []
    old = Path("project-1/export.json")
    old.parent.mkdir()
    old.write_text("old")
    project.task_faults = [None, *[500] * 9]
    assert cli.main(["export", "--project", "1"]) == 1
    assert [path.name for path in old.parent.iterdir()] == ["export.json"]
    assert old.read_text() == "old"
    project.task_faults = []
    assert cli.main(["export", "--project", "1"]) == 0
    assert len(json.loads(old.read_text())) == 30


def test_a_folder_that_cannot_be_is_refused_before_anything_is_asked(
    project: FakeLabelStudio, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    assert cli.main(["export", "--project", "1", "--out", "file"]) == 2
    assert "expected a folder for export.json and config.xml" in capsys.readouterr().err
    assert project.requests == []


def test_a_disk_that_is_full_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("backend.command.export.JsonList.append", full)
    assert cli.main(["export", "--project", "1"]) == 1
    error = capsys.readouterr().err
    assert "No space left on device" in error and "Make room or name another folder" in error
    assert list(Path().iterdir()) == []


def test_a_long_export_tells_how_far_it_is(
    project: FakeLabelStudio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    project.tasks = [{"id": number, "annotations": [], "predictions": []} for number in range(1, 101)]
    times_s = iter(range(0, 100, 4))
    client = LabelStudioClient(LabelStudioSettings(url=project.url, api_key=LEGACY_TOKEN))
    with caplog.at_level(logging.INFO):
        export_project(client, 1, tmp_path / "out", lambda: float(next(times_s)))
    told = [message for message in caplog.messages if message.startswith("export of project 1: ")]
    assert told == ["export of project 1: 30 of 100 tasks", "export of project 1: 100 of 100 tasks"]
