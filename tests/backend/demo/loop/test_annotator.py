from typing import Any, cast

import numpy as np
import pytest

from backend.demo.api import LabelStudioApi, StoredTask
from backend.demo.errors import DemoError
from backend.demo.loop.annotator import annotate, true_regions, true_segments
from backend.demo.project import DemoScene, demo_labels, label_config
from converters.encodings.coco_rle import coco_rle_to_mask
from converters.label_studio.label_config import parse_label_config
from converters.label_studio.reader import tasks_to_records
from ovdiff.tinyworld.world import STUFF

LABELS = demo_labels()
SCENE = DemoScene(70_001, 3)


class Api:
    """Remembers what was submitted."""

    def __init__(self, predictions: list[dict[str, Any]]) -> None:
        self._predictions = predictions
        self.submitted: list[tuple[int, list[dict[str, Any]], int]] = []

    def predictions(self, _task: int) -> list[dict[str, Any]]:
        return self._predictions

    def create_annotation(self, task: int, regions: list[dict[str, Any]], parent: int) -> None:
        self.submitted.append((task, regions, parent))


def test_each_thing_is_a_segment_and_each_kind_of_stuff() -> None:
    truth, rendering = true_segments(SCENE, LABELS, 64), SCENE.render(64)
    names = [LABELS[category - 1] for category in truth.categories]
    assert len(names) >= 3
    for number, name in enumerate(names, 1):
        assert rendering.mask(name)[truth.ids == number].all()
        if name in STUFF:
            assert names.count(name) == 1
    fewer = true_segments(SCENE, [names[0]], 64)
    assert set(fewer.categories) == {1}


def test_the_regions_are_read_back_as_they_were() -> None:
    truth = true_segments(SCENE, LABELS, 64)
    regions = true_regions(truth, LABELS)
    task = {"id": 1, "data": {"image": "a.png"}, "annotations": [{"id": 2, "result": regions}]}
    (record,) = tasks_to_records([task], parse_label_config(label_config(LABELS)))
    found = record.annotations[0].regions
    assert [region.labels for region in found] == [(LABELS[category - 1],) for category in truth.categories]
    for number, region in enumerate(found, 1):
        assert np.array_equal(coco_rle_to_mask(region.rle), truth.ids == number)


def test_an_annotation_corrects_the_newest_prediction() -> None:
    api, task = Api([{"id": 4}, {"id": 9}]), StoredTask(3, "a.png", "/a.png")
    annotate(cast(LabelStudioApi, api), task, true_segments(SCENE, LABELS, 64), LABELS)
    assert [(number, parent) for number, _, parent in api.submitted] == [(3, 9)]
    with pytest.raises(DemoError, match=r"Task 3 \(a.png\) has no prediction"):
        annotate(cast(LabelStudioApi, Api([])), task, true_segments(SCENE, LABELS, 64), LABELS)
