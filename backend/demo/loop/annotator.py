"""A simulated annotator: it replaces the prediction of a task by the true regions of its drawn scene, by the API.

An annotator who is perfect says what masks are worth, and nothing about people's mistakes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from backend.demo.api import LabelStudioApi, StoredTask
from backend.demo.errors import DemoError
from backend.demo.project import BRUSH_TAG, IMAGE_TAG, DemoScene
from converters.encodings.brush import mask_to_brush_rle
from converters.metrics.panoptic_quality import SegmentMap
from ovdiff.tinyworld.world import segments_of

LEAST_SHARE = 0.001
"""A thing of which less of the image is seen, behind another one, is no region."""


def true_segments(scene: DemoScene, labels: Sequence[str], size_px: int) -> SegmentMap:
    """Return the true segments of a scene: each thing that is seen, and each kind of stuff, as far as it is a label."""
    drawn, names = segments_of(scene.render(size_px))
    ids, categories = np.zeros_like(drawn), []
    for number, name in enumerate(names, start=1):
        mask = drawn == number
        if name in labels and np.count_nonzero(mask) >= LEAST_SHARE * mask.size:
            categories.append(labels.index(name) + 1)
            ids[mask] = len(categories)
    return SegmentMap(ids, tuple(categories))


def annotate(api: LabelStudioApi, task: StoredTask, truth: SegmentMap, labels: Sequence[str]) -> None:
    """Submit the true regions of a task as the correction of its newest prediction.

    Raises:
        DemoError: the task has no prediction to correct, or Label Studio refuses the annotation.
    """
    predictions = api.predictions(task.id)
    if not predictions:
        raise DemoError(f"Task {task.id} ({task.file_name}) has no prediction to correct.")
    api.create_annotation(task.id, true_regions(truth, labels), int(predictions[-1]["id"]))


def true_regions(truth: SegmentMap, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return segments as brush regions, as the editor submits them."""
    height, width = truth.ids.shape
    return [
        {
            "id": f"region-{number}",
            "origin": "manual",
            "from_name": BRUSH_TAG,
            "to_name": IMAGE_TAG,
            "type": "brushlabels",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": mask_to_brush_rle(truth.ids == number),
                "brushlabels": [labels[category - 1]],
            },
        }
        for number, category in enumerate(truth.categories, start=1)
    ]
