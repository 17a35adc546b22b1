import json
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from backend.command.coco_file import CocoFile
from converters.datasets.coco import coco_results, write_coco
from ovdiff.segmentation import Segmentation


def segmentation(labels: list[list[int]]) -> Segmentation:
    label_map = np.array(labels, dtype=np.int32)
    scores = np.full(label_map.shape, 0.5, dtype=np.float32)
    return Segmentation(label_map, scores, scores)


def test_the_file_is_one_that_pycocotools_reads(tmp_path: Path) -> None:
    collected = CocoFile(["water", "cat", "boat"])
    collected.add("deep/a.png", segmentation([[3, 3, 0], [1, 0, 1]]))
    collected.add("b.png", segmentation([[0, 0]]))
    write_coco(collected.dataset(), tmp_path / "masks.json")
    coco = COCO(str(tmp_path / "masks.json"))
    assert [category["name"] for category in coco.loadCats([1, 2, 3])] == ["water", "cat", "boat"]
    assert [(i["file_name"], i["width"], i["height"]) for i in coco.loadImgs([1, 2])] == [
        ("deep/a.png", 3, 2), ("b.png", 2, 1)
    ]  # fmt: skip
    water, boat = coco.loadAnns(coco.getAnnIds(imgIds=1))
    assert (water["category_id"], water["score"], water["area"], water["bbox"]) == (1, 0.5, 2, [0, 1, 3, 1])
    assert coco.annToMask(boat).tolist() == [[1, 1, 0], [0, 0, 0]]
    assert coco.getAnnIds(imgIds=2) == []


def test_each_connected_part_can_be_an_annotation_with_a_score_of_its_own() -> None:
    label_map = np.array([[1, 1, 0, 2], [0, 0, 0, 2], [1, 0, 0, 0]], dtype=np.int32)
    scores = np.array([[0.2, 0.4, 0, 1], [0, 0, 0, 1], [0.9, 0, 0, 0]], dtype=np.float32)
    collected = CocoFile(["boat", "mast"], split_parts=True)
    collected.add("a.png", Segmentation(label_map, scores, scores))
    found = collected.dataset()["annotations"]
    assert [(a["id"], a["category_id"], a["bbox"], a["score"]) for a in found] == [
        (1, 1, [0, 0, 2, 1], 0.3),
        (2, 1, [0, 2, 1, 1], 0.9),
        (3, 2, [3, 0, 1, 2], 1.0),
    ]
    assert len(collected) == 3


def test_each_object_can_be_an_annotation_with_a_score_of_its_own() -> None:
    label_map = np.array([[1, 1, 1, 2], [0, 0, 0, 0], [2, 2, 0, 0]], dtype=np.int32)
    ids = np.array([[1, 1, 2, 3], [0, 0, 0, 0], [3, 3, 0, 0]], dtype=np.int32)
    scores = np.array([[0.2, 0.4, 0.9, 1], [0, 0, 0, 0], [1, 1, 0, 0]], dtype=np.float32)
    collected = CocoFile(["boat", "water"], instances=True)
    collected.add("a.png", Segmentation(label_map, scores, scores, ids))
    found = collected.dataset()["annotations"]
    assert [(a["category_id"], a["area"], a["bbox"], a["score"]) for a in found] == [
        (1, 2, [0, 0, 2, 1], 0.3),
        (1, 1, [2, 0, 1, 1], 0.9),
        (2, 3, [0, 0, 4, 3], 1.0),
    ]


def test_its_annotations_are_results_too(tmp_path: Path) -> None:
    collected = CocoFile(["water"])
    collected.add("a.png", segmentation([[1, 0]]))
    results = json.loads(json.dumps(coco_results(collected.dataset())))
    assert [(result["image_id"], result["category_id"], result["score"]) for result in results] == [(1, 1, 0.5)]
