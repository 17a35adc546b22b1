"""Corrections small enough to count by hand, for the tests of what is made of them."""

from typing import Any

import numpy as np

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
