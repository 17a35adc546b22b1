"""`ovdiff prelabel` on a real Label Studio: the service's own predictions, replaced ones, a kill, and filters."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.command import cli
from backend.demo.api import LabelStudioApi
from backend.demo.project import BRUSH_TAG, IMAGE_TAG, choose_scenes, label_config, write_images
from backend.demo.session import Session
from converters.encodings.brush import mask_to_brush_rle
from tests.end_to_end.prelabelling import kill_a_run, prelabel, use_settings_of, versions

pytestmark = pytest.mark.end_to_end

OLD = "ovdiff-0.0.1+0123456789"
_TASKS, _SIZE_PX = 24, 96


@pytest.fixture(scope="module")
def project(session: Session, tmp_path_factory: pytest.TempPathFactory) -> int:
    """A project of drawn scenes whose two labels the session's backend has prepared."""
    images = write_images(choose_scenes(_TASKS), tmp_path_factory.mktemp("images"), _SIZE_PX)
    made = session.maker.ensure_project("Prelabel", label_config(("sky", "balloon")), images)
    session.maker.connect(made)
    session.backend.wait_for_prototypes(made, session.maker.console)
    return made


@pytest.fixture
def environment(session: Session, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    return use_settings_of(session.backend, session.label_studio, monkeypatch)


def region() -> dict[str, Any]:
    mask = np.zeros((_SIZE_PX, _SIZE_PX), dtype=np.bool_)
    mask[:20] = True
    value = {"format": "rle", "rle": mask_to_brush_rle(mask), "brushlabels": ["sky"]}
    size = {"original_width": _SIZE_PX, "original_height": _SIZE_PX, "image_rotation": 0}
    return {"id": "r", "from_name": BRUSH_TAG, "to_name": IMAGE_TAG, "type": "brushlabels", "value": value, **size}


def store(api: LabelStudioApi, task: int, version: str) -> int:
    body = {"task": task, "result": [region()], "score": 0.5, "model_version": version}
    return int(api.call("POST", "/api/predictions/", json=body)["id"])


def test_all_tasks_are_predicted_as_the_service_does_and_old_ones_replaced(
    session: Session, project: int, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    api = session.maker.api
    tasks = [task.id for task in api.tasks(project)]
    version = api.backends(project)[0]["model_version"]
    assert api.open_task(project, tasks[0]) == 1  # the service predicts it
    (answered,) = api.predictions(tasks[0])
    store(api, tasks[1], OLD)
    store(api, tasks[2], "somebody's model")
    used = store(api, tasks[3], OLD)
    api.create_annotation(tasks[3], [region()], used)
    store(api, tasks[3], OLD)

    found = prelabel(project, capsys, "--dry-run")
    assert (found["model_version"], found["lacking"], found["up_to_date"]) == (version, _TASKS - 1, 1)
    assert (found["outdated"], found["removed"]) == (2, 2)
    assert prelabel(project, capsys, "--changed-only", "--unannotated", "--dry-run")["lacking"] == 1

    some = f"{tasks[1]}-{tasks[3]}"
    assert prelabel(project, capsys, "--query", some)["predicted"] == 3
    items = [{"filter": "filter:tasks:id", "operator": "less", "type": "Number", "value": tasks[5]}] * 2
    filters = {"conjunction": "or", "items": items}
    view = api.call("POST", "/api/dm/views/", json={"project": project, "data": {"title": "some", "filters": filters}})
    address = f"{api.url}/projects/{project}/data?tab={view['id']}"
    assert prelabel(project, capsys, "--query", address)["predicted"] == 1
    stored = versions(api, project)
    assert [stored[task] for task in tasks[:6]] == [
        [version],
        [version],
        ["somebody's model", version],
        [OLD, version],
        [version],
        [],
    ]
    assert api.export_json(project)[0]["annotations"][0]["parent_prediction"] == used

    api.request("DELETE", f"/api/predictions/{answered['id']}/")
    assert prelabel(project, capsys, "--query", str(tasks[0]))["predicted"] == 1
    (pushed,) = api.predictions(tasks[0])
    assert {key: pushed[key] for key in ("result", "score", "model_version")} == {
        key: answered[key] for key in ("result", "score", "model_version")
    }
    assert api.open_task(project, tasks[0]) == 1  # Label Studio knows the version, and asks for no other


def test_a_run_that_is_killed_goes_on(
    session: Session, project: int, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    api = session.maker.api
    for task in api.tasks(project):
        for prediction in api.predictions(task.id):
            api.request("DELETE", f"/api/predictions/{prediction['id']}/")
        store(api, task.id, OLD)
    kill_a_run(project, environment)
    version = api.backends(project)[0]["model_version"]
    left = Counter(map(tuple, versions(api, project).values()))
    assert left == {(version,): 2, (OLD, version): 2, (OLD,): _TASKS - 4}
    found = prelabel(project, capsys)
    assert found["predicted"] == _TASKS - 4
    assert Counter(map(tuple, versions(api, project).values())) == {(version,): _TASKS}


def test_what_somebody_has_open_can_be_submitted(
    session: Session,
    project: int,
    environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A person opens a task, the task is predicted anew, and then the person submits; another one is still drawing."""
    api = session.maker.api
    submitted, drawn = (task.id for task in api.tasks(project)[-2:])
    opened = {task: store(api, task, OLD) for task in (submitted, drawn)}
    api.call("POST", f"/api/tasks/{drawn}/drafts", json={"result": [region()], "lead_time": 1.0})
    query = ("--query", f"{submitted}-{drawn}")
    monkeypatch.delenv("OVDIFF_DELETE_REPLACED_AFTER_S")
    for task, kept in opened.items():  # both lack a prediction of the present version
        for prediction in api.predictions(task):
            if prediction["id"] != kept:
                api.request("DELETE", f"/api/predictions/{prediction['id']}/")
    found = prelabel(project, capsys, *query)
    assert (found["predicted"], found["removed"], found["removed_later"]) == (2, 0, 2)
    api.create_annotation(submitted, [region()], opened[submitted])
    monkeypatch.setenv("OVDIFF_DELETE_REPLACED_AFTER_S", "0")  # it is the next day, and nobody else has them open
    found = prelabel(project, capsys, *query)
    assert (found["removed"], found["removed_later"], found["kept_for_annotations"]) == (0, 1, 1)
    assert all(opened[task] in [each["id"] for each in api.predictions(task)] for task in opened)


def test_what_label_studio_does_not_understand_is_told(
    session: Session, project: int, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["prelabel", "--project", str(project), "--query"]
    for query in (
        '{"items": [{"filter": "filter:tasks:nope", "operator": "equal", "type": "Number", "value": 1}]}',
        '{"items": [{"filter": "filter:tasks:id", "operator": "zzz", "type": "Number", "value": "a"}]}',
    ):
        assert cli.main([*words, query]) == 2
        assert "Label Studio cannot use this filter" in capsys.readouterr().err
    assert cli.main([*words, "tab=99999"]) == 2
    assert "has no tab 99999" in capsys.readouterr().err


def test_rows_of_a_manifest_become_tasks_with_predictions_and_none_twice(
    session: Session, project: int, environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`project` has had the prototypes of the labels made."""
    api = session.maker.api
    photos = write_images(choose_scenes(_TASKS), tmp_path / "photos", _SIZE_PX)
    lines = [json.dumps({"image": path.name, "id": number}) for number, path in enumerate(photos, 1)]
    (tmp_path / "photos/rows.jsonl").write_text("\n".join(lines))
    made = session.maker.ensure_project("Rows", label_config(("sky", "balloon")), photos[:1])
    before = {task.id for task in api.tasks(made)}
    words = ["--manifest", str(tmp_path / "photos/rows.jsonl"), "--image-root", "s3://photos/deep/"]

    dry = prelabel(made, capsys, *words, "--dry-run")
    assert (dry["new"], dry["imported"], {task.id for task in api.tasks(made)}) == (_TASKS, 0, before)
    assert prelabel(made, capsys, *words, "--limit", "5")["imported"] == 5
    found = prelabel(made, capsys, *words)
    assert (found["already_tasks"], found["imported"]) == (5, _TASKS - 5)
    new = [task.id for task in api.tasks(made) if task.id not in before]
    data = [api.call("GET", f"/api/tasks/{task}/")["data"] for task in new]
    assert [each["image"] for each in data] == [f"s3://photos/deep/{path.name}" for path in photos]
    assert [each["id"] for each in data] == list(range(1, _TASKS + 1))
    stored = versions(api, made)
    assert all(stored[task] == [found["model_version"]] for task in new)
    assert prelabel(made, capsys, *words)["imported"] == 0
    rest = prelabel(made, capsys)
    assert (rest["up_to_date"], rest["predicted"]) == (_TASKS, len(before)), "they are those of an ordinary run"
