"""The loop's plan and its steps, with fakes for the servers and the trainings; `make demo-loop` runs the real ones."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from backend.demo.api import StoredTask
from backend.demo.loop import run as loop_run
from backend.demo.loop.annotator import true_segments
from backend.demo.loop.run import LESSONS, Loop, Plan, copy_prototypes
from backend.demo.project import demo_labels
from backend.demo.session import Session
from backend.demo.stored import StoredPredictions
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.metrics.panoptic_quality import SegmentMap
from converters.records import Prediction, Region

LABELS = demo_labels()
NOTHING = SegmentMap(np.zeros((loop_run.SIZE_PX, loop_run.SIZE_PX), np.int32), ())


class Api:
    def __init__(self, plan: Plan) -> None:
        scenes = [*plan.corrected, *plan.kept]
        self._tasks = [StoredTask(i, scene.file_name, scene.file_name) for i, scene in enumerate(scenes, 1)]
        self.corrected: list[int] = []

    def tasks(self, _project: int) -> list[StoredTask]:
        return self._tasks

    def predictions(self, task: int) -> list[dict[str, Any]]:
        return [{"id": task}]

    def create_annotation(self, task: int, _regions: object, _parent: int) -> None:
        self.corrected.append(task)

    def export_json(self, _project: int) -> list[int]:
        return list(self.corrected)

    def label_config(self, _project: int) -> str:
        return "<View/>"

    def backends(self, _project: int) -> list[dict[str, str]]:
        return [{"model_version": f"after {len(self.corrected)}"}]


def session_of(api: Api, tmp_path: Path) -> Session:
    console = SimpleNamespace(say=print, progress=lambda _text: None, end_progress=lambda: None)
    maker = SimpleNamespace(
        api=api,
        console=console,
        ensure_project=lambda *_: 1,
        connect=lambda _project: None,
        predict=lambda _project, tasks=None: tasks,
    )
    backend = SimpleNamespace(
        build_anchors=lambda _: None, wait_for_prototypes=lambda *_: None, folder=tmp_path / "backend"
    )
    host = SimpleNamespace(url="http://localhost:1", login=SimpleNamespace(token="t"))
    return cast(Session, SimpleNamespace(maker=maker, backend=backend, label_studio=host))


def test_nobody_corrects_the_scenes_that_are_measured() -> None:
    plan = Plan(counts=(0, 3, 5), remaining=4)
    assert len(plan.corrected) == 5 and len(plan.kept) == 4
    assert not {scene.index for scene in plan.corrected} & {scene.index for scene in plan.kept}


def test_a_bank_that_is_not_there_gives_no_prototypes(tmp_path: Path) -> None:
    assert copy_prototypes(tmp_path / "none", tmp_path / "bank") == 0


def test_tasks_are_corrected_step_by_step_and_each_step_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(counts=(0, 1, 3), remaining=2, out=tmp_path / "out.json")
    api, commands, trained = Api(plan), [], []
    truths = [true_segments(scene, plan.labels, loop_run.SIZE_PX) for scene in plan.kept]

    def stored(_api: object, _project: int, tasks: list[StoredTask]) -> list[StoredPredictions]:
        """The service finds nothing before a lesson, and everything after it."""
        return [
            StoredPredictions(
                task,
                (
                    Prediction(
                        task.id,
                        tuple(
                            Region(str(i), (LABELS[category - 1],), "label", mask_to_coco_rle(truth.ids == i))
                            for i, category in enumerate(truth.categories, 1)
                        )
                        if api.corrected
                        else (),
                        model_version=f"after {len(api.corrected)}",
                    ),
                ),
            )
            for task, truth in zip(tasks, truths, strict=True)
        ]

    def train(_ovdiff: str, given: list[Any], export: Path, *_: object) -> list[Path]:
        trained.append(len(json.loads(export.read_text())))
        return [Path(start.name) for start in given]

    monkeypatch.setattr(loop_run, "read_predictions", stored)
    results = Loop(
        session_of(api, tmp_path),
        plan,
        tmp_path / "loop",
        predict_with=lambda preset, images, labels: [NOTHING] * len(images),
        train_heads=train,
        run=lambda command, environment, log: commands.append(command[1]),
    ).run()
    assert trained == [1, 3] and commands == ["learn", "learn"] and api.corrected == [1, 2, 3]
    rows = results["rows"]
    assert [rows[LESSONS][str(count)]["touched"] == 0 for count in plan.counts] == [False, True, True]
    assert "0" not in rows["head from nothing"] and rows["head from nothing"]["3"]["miou"] < 0.2
    assert json.loads(plan.out.read_text()) == results
    assert results["protocol"]["first_scene"] == loop_run.FIRST_SCENE + 3
