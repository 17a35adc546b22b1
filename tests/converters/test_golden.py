"""What a real Label Studio 1.23.2 exported (golden/record_exports.py), compared pixel by pixel with what was drawn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from converters.datasets.coco import CocoOptions, records_to_coco, write_coco
from converters.label_studio.categories import categories_of
from converters.label_studio.label_config import LabelConfig, parse_label_config
from converters.label_studio.reader import read_export
from converters.records import Annotation, ImageRecord

GOLDEN = Path(__file__).parent / "golden"
FORMS = ("export_json", "export_json_min", "api_tasks")
LABELS = {
    "ring": "red disc",
    "square": "blue square",  # by its alias
    "stroke": "red disc",
    "bits": "red disc",
    "poly": "green thing",
    "box": "green thing",
    "oval": "red disc",
}


@pytest.fixture(scope="module")
def config() -> LabelConfig:
    return parse_label_config((GOLDEN / "label_config.xml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    rles = json.loads((GOLDEN / "masks.json").read_text(encoding="utf-8"))
    return {name: coco_mask.decode({**rle, "counts": rle["counts"].encode()}) > 0 for name, rle in rles.items()}


def records(form: str, config: LabelConfig) -> list[ImageRecord]:
    return list(read_export(GOLDEN / f"{form}.json", config))


def full_annotation(record: ImageRecord) -> Annotation:
    return max(record.annotations, key=lambda annotation: len(annotation.regions))


@pytest.mark.parametrize("form", FORMS)
def test_every_region_has_the_pixels_that_were_drawn(
    form: str, config: LabelConfig, drawn: dict[str, np.ndarray]
) -> None:
    regions = full_annotation(records(form, config)[0]).regions
    assert [region.labels for region in regions] == [(LABELS[name],) for name in drawn]  # JSON_MIN has no ids
    for region, (name, mask) in zip(regions, drawn.items(), strict=True):
        different = int((region.mask() != mask).sum())
        assert different <= (4 if name == "oval" else 0), name  # the ellipse is drawn as a polygon


@pytest.mark.parametrize("form", FORMS)
def test_tasks_keep_their_annotations_and_skips(form: str, config: LabelConfig) -> None:
    found = records(form, config)
    is_min = form == "export_json_min"  # which leaves skipped tasks out
    assert [record.task_id for record in found] == ([1, 3] if is_min else [1, 2, 3])
    assert len(found[0].annotations) == 2
    assert found[-1].annotations[0].regions == ()
    if not is_min:
        assert [annotation.skipped for annotation in found[1].annotations] == [True]


@pytest.mark.parametrize("form", ["export_json", "api_tasks"])
def test_scores_origins_and_parents_are_kept(form: str, config: LabelConfig) -> None:
    annotation = full_annotation(records(form, config)[0])
    assert annotation.parent_prediction == 1
    stroke = annotation.regions[2]
    assert (stroke.id, stroke.origin, stroke.score) == ("stroke", "prediction-changed", 0.75)


def test_the_api_has_the_prediction_too(config: LabelConfig, drawn: dict[str, np.ndarray]) -> None:
    (prediction,) = records("api_tasks", config)[0].predictions
    assert (prediction.score, prediction.model_version) == (0.6, "recorded-v1")
    assert np.array_equal(prediction.regions[0].mask(), drawn["stroke"])


@pytest.mark.parametrize("form", FORMS)
def test_what_has_no_area_is_listed(form: str, config: LabelConfig) -> None:
    reasons = [item.reason for item in records(form, config)[0].left_out]
    assert reasons == ["keypointlabels has no area", "choices has no area"]


def coco_of(found: list[ImageRecord], config: LabelConfig, folder: Path, **options: Any) -> COCO:
    sizes = {record.image.rsplit("/", 1)[-1]: (48, 64) for record in found}
    dataset, _ = records_to_coco(found, categories_of(config), CocoOptions(**options), sizes.get)
    write_coco(dataset, folder / "coco.json")
    return COCO(str(folder / "coco.json"))


@pytest.mark.parametrize("form", FORMS)
def test_the_coco_file_is_loaded_by_pycocotools_with_the_same_pixels(
    form: str, config: LabelConfig, drawn: dict[str, np.ndarray], tmp_path: Path
) -> None:
    coco = coco_of(records(form, config), config, tmp_path, every_annotator=True)
    assert {c["name"]: c["id"] for c in coco.cats.values()} == {"red disc": 1, "blue square": 2, "green thing": 9}
    assert len(coco.imgs) == 2  # the one with regions and the one that was found empty
    assert len(coco.anns) == len(drawn) + 1
    rings = [a for a in coco.anns.values() if np.array_equal(coco.annToMask(a) > 0, drawn["ring"])]
    assert [a["area"] for a in rings] == [int(drawn["ring"].sum())] * 2  # its hole is no part of it


def test_ground_truth_stands_for_the_image(config: LabelConfig, tmp_path: Path) -> None:
    coco = coco_of(records("export_json", config), config, tmp_path)
    assert [a["region_id"] for a in coco.anns.values()] == ["ring"]
