"""Corrections small enough to count by hand, for the tests of what is made of them."""

from typing import Any

import numpy as np

from converters.corrections.pairs import find_corrections
from converters.corrections.scores import CorrectionScores
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.records import Annotation, DatasetCategory, ImageRecord, Prediction, Region

SIZE_HW = (6, 8)
CATEGORIES = (DatasetCategory(3, "cat"), DatasetCategory(1, "dog"))


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SIZE_HW, dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def region(region_id: str, mask: np.ndarray, *labels: str, **more: Any) -> Region:
    return Region(region_id, labels or ("cat",), "brush", mask_to_coco_rle(mask), **more)


def corrected(before: list[Region], after: list[Region], *, task_id: int = 1, **more: Any) -> ImageRecord:
    """Return an image whose prediction became an annotation; `more` goes to whichever of the two has the field."""
    annotation = {key: more.pop(key) for key in ("lead_time_s", "annotator", "skipped", "updated_at") if key in more}
    prediction = {key: more.pop(key) for key in ("score", "model_version", "created_at") if key in more}
    return ImageRecord(
        task_id,
        more.pop("image", f"/data/upload/1/{task_id}.png"),
        "image",
        size_hw=SIZE_HW,
        annotations=(Annotation(10 + task_id, tuple(after), parent_prediction=20 + task_id, **annotation),),
        predictions=(Prediction(20 + task_id, tuple(before), **prediction),),
        **more,
    )


def scores_of(*records: ImageRecord, categories: tuple[DatasetCategory, ...] = CATEGORIES) -> CorrectionScores:
    scores = CorrectionScores(categories)
    for record in records:
        scores.tally.images_in += 1
        for item in find_corrections(record):
            scores.add(item)
    return scores


def scores_of_two_versions() -> CorrectionScores:
    """Two versions: one prediction changed and added to, one accepted, one image left alone."""
    left, wider, right = box(0, 0, 6, 3), box(0, 0, 6, 4), box(0, 5, 6, 8)
    return scores_of(
        corrected(
            [region("a", left, score=0.9)],
            [region("a", wider, score=0.9), region("b", right, "dog")],
            lead_time_s=30.0,
            model_version="v1",
            created_at="2026-01-01T00:00:00Z",
        ),
        corrected(
            [region("a", left, score=0.4)],
            [region("a", left)],
            task_id=2,
            model_version="v2",
            created_at="2026-02-01T00:00:00Z",
        ),
        ImageRecord(3, "c.png", "image"),
    )
