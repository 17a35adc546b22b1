"""COCO's average precision of masks, by pycocotools, over the images of a dataset."""

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from converters.encodings.coco_rle import CocoRLE, coco_rle_area, coco_rle_bbox_xywh
from ovdiff.evaluation.figures import FoundMask

Masks = tuple[tuple[int, int], Sequence[FoundMask], Sequence[FoundMask]]
"""One image: its height and width, its true masks, and the masks that were found."""


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision over the categories that occur in the truth, 0 to 1; ``None`` if none occurs.

    Attributes:
        ap: the mean over IoU of .5 to .95 in steps of .05.
        ap50: at an IoU of .5.
        ap75: at an IoU of .75.
        by_label: ``ap`` of each category that occurs in the truth, by its label.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    by_label: dict[int, float]


def average_precision(images: Iterable[Masks]) -> AveragePrecision:
    """Return COCO's average precision of masks, as pycocotools finds it."""
    kept = list(images)
    entries = [_annotations(number, size, true) for number, (size, true, _) in enumerate(kept, 1)]
    results = [entry for number, (size, _, found) in enumerate(kept, 1) for entry in _annotations(number, size, found)]
    labels = sorted({entry["category_id"] for entry in chain(*entries) if not entry["iscrowd"]})
    if not labels:
        return AveragePrecision(None, None, None, {})
    dataset = COCO()
    described: Any = {
        "info": {},
        "images": [{"id": number, "height": size[0], "width": size[1]} for number, (size, _, _) in enumerate(kept, 1)],
        "categories": [{"id": label, "name": str(label)} for label in labels],
        "annotations": [{**entry, "id": number} for number, entry in enumerate(chain.from_iterable(entries), 1)],
    }
    dataset.dataset = described
    if not results:
        return AveragePrecision(0.0, 0.0, 0.0, dict.fromkeys(labels, 0.0))
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints a table
        dataset.createIndex()
        evaluation = COCOeval(dataset, dataset.loadRes(results), "segm")
        evaluation.params.catIds = labels
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # (IoU thresholds, recalls, categories, sizes of objects, most detections of an image); -1 where there is nothing
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    by_label = {
        label: float(np.mean(of[of > -1])) if (of := precision[:, :, place]).max() > -1 else 0.0
        for place, label in enumerate(labels)
    }
    ap, ap50, ap75 = (float(evaluation.stats[place]) for place in range(3))
    return AveragePrecision(ap, ap50, ap75, by_label)


def _annotations(image: int, size_hw: tuple[int, int], masks: Sequence[FoundMask]) -> list[dict[str, Any]]:
    entries = []
    for each in masks:
        rle: CocoRLE = {"size": list(size_hw), "counts": each.rle}
        area, box = coco_rle_area(rle), coco_rle_bbox_xywh(rle)
        shape = {"segmentation": rle, "area": area, "bbox": box, "iscrowd": int(each.is_crowd)}
        entries.append({"image_id": image, "category_id": each.label, "score": each.score, **shape})
    return entries
