"""`ovdiff export` from a real Label Studio: three commands turn a project into a report, with either kind of token."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.command import cli
from backend.demo.project import BRUSH_TAG, IMAGE_TAG, label_config
from backend.demo.session import Session
from converters.encodings.brush import mask_to_brush_rle
from tests.fakes.pictures import encoded, red_and_blue

pytestmark = pytest.mark.end_to_end

_TASKS, _SKIPPED = 24, 5  # more than the first page holds


def _sky(bottom: int) -> dict[str, Any]:
    mask = np.zeros((48, 64), dtype=np.bool_)
    mask[:bottom] = True
    return {
        "id": "sky",
        "from_name": BRUSH_TAG,
        "to_name": IMAGE_TAG,
        "type": "brushlabels",
        "original_width": 64,
        "original_height": 48,
        "image_rotation": 0,
        "score": 0.75,
        "value": {"format": "rle", "rle": mask_to_brush_rle(mask), "brushlabels": ["sky"]},
    }


@pytest.fixture(scope="module")
def project(session: Session, tmp_path_factory: pytest.TempPathFactory) -> int:
    """A project whose every task has a prediction, and all but some a correction."""
    api, folder = session.maker.api, tmp_path_factory.mktemp("images")
    paths = [folder / f"{number:02}.png" for number in range(_TASKS)]
    for path in paths:
        path.write_bytes(encoded(red_and_blue()))
    number = api.create_project("Export", label_config(("sky",)))
    api.upload_images(number, paths)
    for position, task in enumerate(api.tasks(number)):
        body = {"task": task.id, "result": [_sky(20)], "score": 0.75, "model_version": "v1"}
        prediction = api.call("POST", "/api/predictions", json=body)["id"]
        if position >= _SKIPPED:
            api.create_annotation(task.id, [{**_sky(24), "origin": "prediction-changed"}], prediction)
    return number


@pytest.mark.parametrize("kind", ["legacy", "personal"])
def test_three_commands_turn_a_project_into_a_report(
    session: Session,
    personal_token: str,
    project: int,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    api = session.maker.api
    token = api.token if kind == "legacy" else personal_token
    monkeypatch.setenv("LABEL_STUDIO_URL", api.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", token)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", "--project", str(project), "--out", "."]) == 0
    tasks = json.loads(Path("export.json").read_text("utf-8"))
    assert [task["id"] for task in tasks] == [task.id for task in api.tasks(project)]
    assert Path("config.xml").read_text("utf-8") == api.label_config(project)
    read = ["export.json", "--label-config", "config.xml"]
    assert cli.main(["validate", *read]) == 0
    assert cli.main(["convert", "coco", *read, "--out", "coco.json"]) == 3  # tasks that nobody has annotated
    assert len(json.loads(Path("coco.json").read_text("utf-8"))["annotations"]) == _TASKS - _SKIPPED
    assert cli.main(["evaluate-corrections", *read, "--out", "report"]) == 0
    report = json.loads(Path("report/corrections.json").read_text("utf-8"))
    assert report["counts"]["corrections_out"] == _TASKS - _SKIPPED
    assert report["quality"]["mean_iou_without_background"] == pytest.approx(20 / 24)


def test_a_wrong_project_and_a_wrong_token_are_told_apart(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", session.maker.api.url)
    monkeypatch.chdir(tmp_path)
    for token, project, said in ((session.maker.api.token, 9999, "answered 404"), ("0" * 40, 1, "refused the token")):
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", token)
        assert cli.main(["export", "--project", str(project)]) == 1
        assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
