"""`ovdiff prelabel --manifest` against a small HTTP server; a real Label Studio is in tests/end_to_end."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.command import cli
from backend.command.manifest.images import ImagesOfRows
from backend.command.manifest.importing import AddressSet
from backend.command.manifest.reading import open_manifest
from backend.command.manifest.rows import Columns, Row
from backend.command.prelabel import Wishes
from backend.command.prelabel_manifest import addressing_of, import_manifest
from backend.errors import LabelStudioAPIError, RequestError, UsageError
from backend.serving.prelabelling.patience import Patience
from backend.settings import LabelStudioSettings, Settings
from backend.sources.task_import import TaskImport
from converters.console import answering
from converters.files.image_files import image_file_name
from ovdiff.errors import StorageError
from tests.fakes.engine import FakeEngine, TogetherEngine
from tests.fakes.label_studio import LEGACY_TOKEN
from tests.fakes.pictures import GREY, encoded, red_and_blue
from tests.fakes.project_studio import CONFIG, Asked, Fault, ProjectStudio, running_project

ROOT = "/data/local-files/?d=photos/"
IMPORT = "/api/projects/1/import"


@pytest.fixture
def studio() -> Iterator[ProjectStudio]:
    with running_project(ProjectStudio()) as found:
        yield found


@pytest.fixture
def settings(studio: ProjectStudio, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", label_studio=LabelStudioSettings(url=studio.url, api_key=LEGACY_TOKEN))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A manifest of 50 rows, of which the 7th has no image, the 8th is no row and the 9th repeats the 6th."""
    (tmp_path / "photos").mkdir()
    lines = []
    for number in range(1, 51):
        name = f"{6 if number == 9 else number}.png"
        if number not in (7, 9):
            (tmp_path / "photos" / name).write_bytes(encoded(red_and_blue()))
        lines.append("{" if number == 8 else json.dumps({"image": name, "id": 100 + number, "camera": "north"}))
    (tmp_path / "photos/rows.jsonl").write_text("\n".join(lines))
    return tmp_path / "photos/rows.jsonl"


Pushing = Callable[..., dict[str, Any]]


@pytest.fixture
def push(rows: Path, settings: Settings, capsys: pytest.CaptureFixture[str]) -> Pushing:
    """Run the command, and return what it says as JSON, whatever ends it."""

    def push(prefix: str = ROOT, ends: type[BaseException] | None = RequestError, **wishes: Any) -> dict[str, Any]:
        manifest = open_manifest(rows, Columns(id=""))
        addressing = addressing_of(None, prefix, manifest, settings)
        capsys.readouterr()
        with answering(as_json=True):
            try:
                import_manifest(Wishes(1, **wishes), manifest, addressing, settings, FakeEngine(settings.bank_dir))
            except BaseException as error:
                if ends is None or type(error) is not ends:
                    raise
            else:
                assert ends is None
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return push


def images(studio: ProjectStudio) -> Counter[str]:
    return Counter(task["data"]["image"] for task in studio.tasks.values())


def whole() -> Counter[str]:
    return Counter(f"{ROOT}{number}.png" for number in range(1, 51) if number not in (7, 8, 9))


def test_rows_become_tasks_with_their_predictions_and_none_twice(studio: ProjectStudio, push: Pushing) -> None:
    studio.add_tasks(3)
    studio.tasks[2]["data"]["image"] = f"{ROOT}5.png"
    dry = push(dry_run=True)
    assert (dry["rows"], dry["already_tasks"], dry["new"], dry["imported"]) == (50, 2, 47, 0), "7 is looked at later"
    assert len(studio.tasks) == 3 and studio.count("POST", IMPORT) == 0
    found = push()
    assert (found["already_tasks"], found["imported"], found["failed"]) == (2, 46, 2)
    assert {each["row"] for each in found["failed_rows"]} == {7, 8}
    uploaded = Counter({"/data/upload/1/1.png": 1, "/data/upload/1/3.png": 1})
    assert images(studio) == whole() + uploaded
    new = {number: task for number, task in studio.tasks.items() if number > 3}
    assert new[4]["data"] == {"image": f"{ROOT}1.png", "id": 101, "camera": "north"}
    assert all(studio.versions(number) == [found["model_version"]] for number in new)
    labels = {
        label for each in studio.predictions.values() for r in each["result"] for label in r["value"]["brushlabels"]
    }
    assert labels == {"red", "blue"} and not studio.versions(2), "a task that is there is left as it is"
    again = push()
    assert (again["imported"], again["already_tasks"]) == (0, 48) and len(studio.tasks) == 3 + len(new)


@pytest.mark.parametrize("fault", [None, 500])
def test_an_import_whose_answer_is_lost_is_not_sent_again(
    studio: ProjectStudio, push: Pushing, fault: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.serving.prelabelling.patience.FIRST_PAUSE_S", 0.01)
    lost = [Fault(fault), Fault(fault)]

    def lose(asked: Asked) -> Fault | None:
        return lost.pop() if asked.path == IMPORT and lost else None

    studio.after = lose
    assert push()["imported"] == 47 and not lost
    assert images(studio) == whole()


@pytest.mark.parametrize("answered", [None, 504])
def test_an_import_that_takes_too_long_is_waited_for_and_not_sent_again(
    studio: ProjectStudio, push: Pushing, answered: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.sources.task_import.IMPORT_WITHIN_S", 0.3)
    monkeypatch.setattr("backend.command.manifest.importing.FIRST_LOOK_S", 0.05)
    late = [Fault(answered)]
    imported: list[Any] = []

    def take_long(asked: Asked) -> Fault | None:
        """Import the first tasks when they were looked for twice since the client or a proxy gave up."""
        if asked.path == IMPORT and late:
            imported.append(asked)
            fault = late.pop()
            if answered is None:
                time.sleep(0.4)
            return fault
        if imported and asked.path == "/api/tasks":
            imported.append(None)
            if len(imported) == 3:
                studio.answer(imported[0])
                imported.clear()
        return None

    studio.before = take_long
    assert push()["imported"] == 47 and not late and not imported
    assert images(studio) == whole() and studio.count("POST", IMPORT) == 3


def test_an_import_that_does_not_appear_ends_the_run_and_is_not_sent_again(
    studio: ProjectStudio, push: Pushing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("backend.command.manifest.importing.IMPORT_WITHIN_S", 0.1)
    monkeypatch.setattr("backend.command.manifest.importing.FIRST_LOOK_S", 0.05)
    studio.before = lambda asked: Fault(504) if asked.path == IMPORT else None
    with pytest.raises(LabelStudioAPIError, match=r"20 of 20 did not appear .* not sent again.*Run the same command"):
        push(ends=None)
    assert studio.count("POST", IMPORT) == 1


def test_a_run_that_was_ended_between_an_import_and_its_look_goes_on(
    studio: ProjectStudio, push: Pushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, calls = TaskImport.add, list[int]()

    def ending(self: TaskImport, tasks: Any) -> None:
        add(self, tasks)
        calls.append(len(tasks))
        if len(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(TaskImport, "add", ending)
        ended = push(ends=KeyboardInterrupt)
    assert ended["interrupted"] == "by Ctrl-C" and calls == [20, 20] and len(studio.tasks) == 40
    assert push()["imported"] == 7
    assert images(studio) == whole()


_KILLED = """
import os, signal, sys
from backend.command import cli
from backend.sources.task_import import TaskImport
from tests.fakes.engine import FakeEngine, TogetherEngine

add = TaskImport.add
def killing(self, tasks):
    add(self, tasks)
    os.kill(os.getpid(), signal.SIGKILL)

TaskImport.add = killing
import backend.engine
backend.engine.make_engine = lambda preset, bank, device: FakeEngine(bank.folder)
cli.main(sys.argv[1:])
"""


def test_a_run_that_is_killed_goes_on_and_makes_no_task_twice(
    studio: ProjectStudio, push: Pushing, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", LEGACY_TOKEN)
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    words = ["prelabel", "--project", "1", "--manifest", str(rows), "--image-root", ROOT]
    for imported in (20, 40):
        killed = subprocess.run([sys.executable, "-c", _KILLED, *words], capture_output=True, text=True, check=False)
        assert killed.returncode == -signal.SIGKILL and len(studio.tasks) == imported, killed.stderr
    assert push()["imported"] == 7
    assert images(studio) == whole()


def test_what_label_studio_does_not_take_is_named_and_the_others_are_imported(
    studio: ProjectStudio, push: Pushing, rows: Path
) -> None:
    (rows.parent / "13.png").write_bytes(encoded(np.full((48, 64, 3), GREY, np.uint8)))
    studio.takes = lambda item: bool(item["result"])
    found = push()
    assert found["imported"] == 46 and {each["row"] for each in found["failed_rows"]} == {7, 8, 13}
    assert any("one of them cannot be used" in each["reason"] for each in found["failed_rows"])
    assert images(studio) == whole() - Counter([f"{ROOT}13.png"])


def test_a_project_that_changes_meanwhile_ends_the_run(studio: ProjectStudio, push: Pushing) -> None:
    def change(asked: Asked) -> None:
        if asked.path == IMPORT:
            studio.label_config = CONFIG.replace("blue", "green")

    studio.after = change
    assert push()["imported"] == 20 and len(studio.tasks) == 20


def test_a_storage_that_is_away_ends_the_run_and_is_no_fault_of_a_row(
    studio: ProjectStudio, push: Pushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = ImagesOfRows.bytes_of

    def away(self: ImagesOfRows, row: Any) -> bytes:
        if row.number == 30:
            raise StorageError("s3://bucket is away.", is_away=True)
        return usual(self, row)

    with monkeypatch.context() as patched:
        patched.setattr(ImagesOfRows, "bytes_of", away)
        assert push()["interrupted"] == "by an error"
    assert 20 <= len(studio.tasks) < 30, "what was made before is imported"
    assert push()["failed"] == 2 and images(studio) == whole()


def test_images_are_segmented_together_and_fetched_ahead(
    studio: ProjectStudio, rows: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, fetched_by = ImagesOfRows.bytes_of, set[str]()

    def note(self: ImagesOfRows, row: Row) -> bytes:
        fetched_by.add(threading.current_thread().name)
        return usual(self, row)

    monkeypatch.setattr(ImagesOfRows, "bytes_of", note)
    manifest, engine = open_manifest(rows, Columns(id="")), TogetherEngine(settings.bank_dir)
    with pytest.raises(RequestError, match="2 of 50 rows are no tasks"):
        import_manifest(Wishes(1), manifest, addressing_of(None, ROOT, manifest, settings), settings, engine)
    assert max(engine.groups) > 1 and "ovdiff-ahead" in fetched_by
    assert images(studio) == whole()


def test_a_label_studio_that_stays_away_ends_the_run_in_words(
    studio: ProjectStudio, rows: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.serving.prelabelling.patience.ASK_AGAIN_WITHIN_S", 0.0)
    studio.before = lambda asked: Fault(503) if asked.path == IMPORT else None
    manifest = open_manifest(rows, Columns(id=""))
    addressing = addressing_of(None, ROOT, manifest, settings)
    with pytest.raises(LabelStudioAPIError, match="it goes on with the rows whose images are no tasks"):
        import_manifest(
            Wishes(1), manifest, addressing, settings, FakeEngine(settings.bank_dir), patience=Patience(0.0)
        )
    assert not studio.tasks


def test_only_so_many_rows_are_imported(studio: ProjectStudio, push: Pushing) -> None:
    assert push(ends=None, limit=3)["imported"] == 3
    assert push(ends=None, limit=3)["already_tasks"] == 3 and len(studio.tasks) == 6


def test_rows_that_fail_do_not_count_for_the_limit(studio: ProjectStudio, push: Pushing, rows: Path) -> None:
    for number in (1, 2, 3):
        (rows.parent / f"{number}.png").write_bytes(b"broken")
    found = push(limit=3)
    assert (found["imported"], found["failed"]) == (3, 3)
    assert images(studio) == Counter(f"{ROOT}{number}.png" for number in (4, 5, 6))
    assert push(ends=None, dry_run=True, limit=2)["new"] == 2


def test_what_label_studio_cannot_read_is_no_task(studio: ProjectStudio, push: Pushing) -> None:
    found = push("")
    assert found["new"] == 0 and found["failed"] == 50 and not studio.tasks
    assert "say with --image-root what precedes the path" in found["failed_rows"][0]["reason"]


def test_an_address_is_that_of_the_task_whatever_its_signature(tmp_path: Path, settings: Settings) -> None:

    (tmp_path / "rows.jsonl").write_text('{"image": "a.png"}')
    manifest = open_manifest(tmp_path / "rows.jsonl", Columns(id=""))
    of = addressing_of(Path("photos"), "", manifest, settings).of
    assert of(Row(1, "s3://b/a.png", 1)) == "s3://b/a.png"
    stored: Any = "s3://b/photos"
    assert addressing_of(stored, "", manifest, settings).of(Row(1, "deep/a.png", 1)) == "s3://b/photos/deep/a.png"
    quoted = addressing_of(Path("photos"), ROOT, manifest, settings).of(Row(1, "a+b & c#1.png", 1))
    assert quoted == f"{ROOT}a%2Bb%20%26%20c%231.png" and image_file_name(quoted) == "photos/a+b & c#1.png"
    held = AddressSet()
    assert held.add("https://h/i?key=a.jpg") and held.add("https://h/i?key=b.jpg")
    assert held.add("https://h/a.png?X-Amz-Signature=1") and not held.add("https://h/a.png?X-Amz-Signature=2")
    assert "https://h/a.png?X-Amz-Signature=3" in held and "https://h/b.png" not in held


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--query", "1"], "choose among tasks; leave them out with --manifest"),
        (["--changed-only"], "choose among tasks; leave them out with --manifest"),
        (["--carry", "nope"], "--carry names 'nope', which the first row"),
        (["--image-column", "nope"], "--image-column names 'nope', which the first row"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: list[str], said: str, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["prelabel", "--project", "1", "--manifest", str(rows), *words]) == cli.WRONG_USE
    assert said in capsys.readouterr().err
    assert cli.main(["prelabel", "--project", "1", "--carry", "camera"]) == cli.WRONG_USE
    assert "--image-column and --carry concern --manifest" in capsys.readouterr().err


def test_a_project_with_two_images_a_task_is_refused(studio: ProjectStudio, push: Pushing) -> None:
    second = CONFIG.removeprefix("<View>").removesuffix("</View>").replace("image", "other").replace("brush", "second")
    studio.label_config = CONFIG.replace("</View>", f"{second.replace('red', 'green').replace('blue', 'grey')}</View>")
    with pytest.raises(UsageError, match="The project shows 2 images a task"):
        push(ends=None)
