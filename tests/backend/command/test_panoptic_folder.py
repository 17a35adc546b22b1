import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.command.panoptic_folder import PanopticFolder
from converters.datasets.panoptic import rgb_to_segment_ids
from converters.errors import OutputError
from ovdiff.segmentation import Segmentation

LABELS = np.array([[1, 1, 1, 0], [2, 2, 0, 2]], dtype=np.int32)
IDS = np.array([[1, 1, 2, 0], [3, 3, 0, 3]], dtype=np.int32)  # two boats that touch, and water in two parts
SCORES = np.array([[0.2, 0.4, 0.9, 0.0], [0.5, 0.5, 0.0, 0.5]], dtype=np.float32)


def told_apart() -> Segmentation:
    return Segmentation(LABELS, SCORES, SCORES, IDS)


def test_each_object_and_each_kind_of_stuff_has_an_id_of_its_own(tmp_path: Path) -> None:
    collected = PanopticFolder(["boat", "water"])
    collected.add("deep/a #1 100%.jpg", told_apart())
    collected.add("empty.png", Segmentation(LABELS * 0, SCORES, SCORES, IDS * 0))
    counts = collected.write(tmp_path / "out", ["thing", "stuff"])
    assert (counts.images_out, counts.regions_out, dict(counts.left_out)) == (2, 3, {})
    dataset = json.loads((tmp_path / "out/panoptic.json").read_text())
    assert [image["file_name"] for image in dataset["images"]] == ["deep/a #1 100%.jpg", "empty.png"]
    assert [(c["name"], c["isthing"]) for c in dataset["categories"]] == [("boat", 1), ("water", 0)]
    first, second = dataset["annotations"]
    assert [(s["category_id"], s["area"], s["score"]) for s in first["segments_info"]] == [
        (1, 2, 0.3),
        (1, 1, 0.9),
        (2, 3, 0.5),
    ]
    assert second["segments_info"] == []
    painted = rgb_to_segment_ids(np.asarray(Image.open(tmp_path / "out/panoptic" / first["file_name"])))
    for segment, number in zip(first["segments_info"], (1, 2, 3), strict=True):
        np.testing.assert_array_equal(painted == segment["id"], number == IDS)


def test_what_is_of_no_known_kind_is_a_thing(tmp_path: Path) -> None:
    collected = PanopticFolder(["boat", "water"])
    collected.add("a.png", told_apart())
    collected.write(tmp_path / "out", [None, None])
    dataset = json.loads((tmp_path / "out/panoptic.json").read_text())
    assert [category["isthing"] for category in dataset["categories"]] == [1, 1]


def test_a_folder_that_holds_files_is_not_overwritten(tmp_path: Path) -> None:
    collected = PanopticFolder(["boat", "water"])
    collected.add("a.png", told_apart())
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="to be a new or an empty folder"):
        collected.write(tmp_path, ["thing", "stuff"])
