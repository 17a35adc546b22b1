from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from backend.demo.checks import (
    Demo,
    check_added_label,
    check_corrections,
    check_images,
    check_photographs,
    check_predictions,
)
from backend.demo.errors import CheckError
from backend.demo.report import Row
from tests.fakes.demo_project import PROJECT, SECOND_ENGINE, MemoryStudio, demo_in_memory

Made = tuple[Demo, MemoryStudio]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return demo_in_memory(tmp_path)


def _predict_anew(studio: MemoryStudio, spoil: Callable[[NDArray[np.int32]], NDArray[np.int32]] | None = None) -> None:
    for predictions in studio.stored.values():
        predictions.clear()
    studio.spoil = spoil
    studio.predict(PROJECT)


def _failed(demo: Demo, check: Callable[[Demo], None]) -> list[str]:
    check(demo)
    return [row.check for row in demo.report.failures]


def _row(demo: Demo, check: str) -> Row:
    return next(row for row in demo.report.rows if row.check == check)


@pytest.mark.parametrize("check", [check_images, check_predictions, check_corrections, check_added_label])
def test_a_good_demo_passes(made: Made, check: Callable[[Demo], None]) -> None:
    demo, _ = made
    assert _failed(demo, check) == [] and demo.report.rows


def test_a_missing_and_a_small_image_are_noticed(made: Made, tmp_path: Path) -> None:
    demo, studio = made
    task = studio.projects[PROJECT].pop()
    small = tmp_path / "small.png"
    Image.new("RGB", (100, 600)).save(small)
    studio.images[studio.projects[PROJECT][0].image] = small.read_bytes()
    assert _failed(demo, check_images) == ["images in the project", "shortest side"], task
    assert _row(demo, "shortest side").found == "100 px"


def test_masks_beside_the_objects_are_noticed_and_the_sheet_is_drawn(made: Made) -> None:
    demo, studio = made
    assert not demo.sheet.exists()
    _predict_anew(studio, lambda truth: truth[::-1, ::-1])
    assert _failed(demo, check_predictions) == ["mean IoU"]
    with Image.open(demo.sheet) as sheet:
        assert sheet.width > 500


def test_a_second_prediction_of_a_task_is_noticed(made: Made) -> None:
    demo, studio = made
    old = dict(studio.stored[1][0], id=1, model_version="v0")
    studio.stored[1].insert(0, old)
    assert _failed(demo, check_predictions) == ["tasks with exactly one prediction"]


def test_a_task_without_prediction_is_an_error(made: Made) -> None:
    demo, studio = made
    studio.stored[1].clear()
    with pytest.raises(CheckError, match="has 0 predictions of v1, expected one"):
        check_predictions(demo)


def test_a_correction_that_comes_back_changed_is_noticed(made: Made) -> None:
    demo, studio = made
    studio.in_export = lambda result: result[1:]
    assert _failed(demo, check_corrections) == ["pixels that differ after the way through COCO RLE"]


def test_a_correction_that_lost_its_prediction_is_noticed(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    demo, studio = made
    export = studio.export_json

    def without_parents(project: int) -> list[dict[str, Any]]:
        tasks = export(project)
        for task in tasks:
            task["annotations"] = [annotation | {"parent_prediction": None} for annotation in task["annotations"]]
        return tasks

    monkeypatch.setattr(studio, "export_json", without_parents)
    assert _failed(demo, check_corrections) == ["corrections that name their prediction"]


def test_a_label_that_costs_more_than_itself_is_noticed(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    demo, studio = made
    set_config = studio.set_label_config

    def make_another(project: int, config: str) -> None:
        set_config(project, config)
        studio.backend.names.append("ball")  # made once more, under the same key

    monkeypatch.setattr(studio, "set_label_config", make_another)
    assert "categories made for an added label" in _failed(demo, check_added_label)


def test_tasks_that_are_not_predicted_anew_for_an_added_label_are_an_error(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo, studio = made
    monkeypatch.setattr(studio, "predict", lambda project: [])
    with pytest.raises(CheckError, match="has 0 predictions of v2"):
        check_added_label(demo)


def test_a_version_that_stays_the_same_for_other_labels_is_noticed(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    demo, studio = made
    monkeypatch.setattr(studio, "set_label_config", lambda project, config: setattr(studio, "config", config))
    monkeypatch.setattr(studio, "predict", lambda project: [])
    assert _failed(demo, check_added_label) == ["a version of its own for the new labels"]


def test_photographs_in_every_orientation_pass(made: Made) -> None:
    demo, _ = made
    assert _failed(demo, check_photographs) == []
    assert _row(demo, "EXIF orientations with masks as shown").found == "8"


def test_masks_that_lie_on_the_stored_pixels_of_a_turned_photograph_are_an_error(made: Made) -> None:
    demo, studio = made
    studio.unturned = frozenset({"orientation-6.jpg"})
    with pytest.raises(CheckError, match=r"is for an image of \(451, 300\), but it has \(300, 451\)"):
        check_photographs(demo)


def test_masks_of_an_orientation_of_the_same_size_that_lie_elsewhere_are_noticed(made: Made) -> None:
    demo, studio = made
    studio.unturned = frozenset({"orientation-4.jpg"})  # upside down
    assert _failed(demo, check_photographs) == ["agreement between orientations"]


def test_an_engine_without_prototypes_is_checked_by_what_it_can_do(tmp_path: Path) -> None:
    demo, _ = demo_in_memory(tmp_path, abilities=SECOND_ENGINE)
    assert _failed(demo, check_added_label) == [] == _failed(demo, check_photographs)
    assert _row(demo, "the added label as soon as it is known").found == "ready"
    assert {row.check: row.found for row in demo.report.left_out} == dict.fromkeys(
        (
            "categories made for an added label",
            "new prototype sets on disk",
            "prototype sets kept",
            "categories made for the photographs",
        ),
        "the engine makes no prototypes",
    )


def test_a_label_that_has_to_be_waited_for_is_noticed(tmp_path: Path) -> None:
    demo, studio = demo_in_memory(tmp_path, abilities=SECOND_ENGINE)
    studio.backend.slow = frozenset({"red ball"})
    assert _failed(demo, check_added_label) == ["the added label as soon as it is known"]
