"""The COCO file of a run: an annotation with a score for each category that was found in an image, part or object.

    {"info", "images": [{id, file_name, width, height}], "categories": [{id, name, supercategory}],
     "annotations": [{id, image_id, category_id, segmentation, area, bbox, iscrowd, score}]}

`pycocotools.coco.COCO` loads the file; `converters.datasets.coco.coco_results` turns it into a list of results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backend import __version__
from backend.command.instances import instances_of
from backend.serving.predicting.limits import shown_score
from converters.datasets.coco import CocoDataset
from converters.datasets.coco_thresholds import note_of
from converters.encodings.coco_rle import CocoRLE, coco_rle_area, coco_rle_bbox_xywh, mask_to_coco_rle
from converters.selection import NO_THRESHOLDS, Thresholds
from ovdiff.segmentation import Segmentation


class CocoFile:
    """Collects the segmentations of a run, one image at a time; masks are kept as run lengths."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        split_parts: bool = False,
        instances: bool = False,
        thresholds: Thresholds = NO_THRESHOLDS,
    ) -> None:
        """Start an empty file.

        Args:
            names: the categories; category i + 1 is `names[i]`.
            split_parts: make an annotation of each connected part of a category's mask, not one of the whole mask.
            instances: make an annotation of each object, which the segmentations then tell apart.
            thresholds: those by which masks were hidden; the file says so, for `ovdiff thresholds`.
        """
        self._names = tuple(names)
        self._split_parts, self._instances = split_parts, instances
        self._thresholds = thresholds
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, file_name: str, segmentation: Segmentation) -> None:
        """Add an image with its annotations; an image in which nothing was found is added without annotations."""
        height, width = segmentation.label_map.shape
        self._images.append({"id": len(self._images) + 1, "file_name": file_name, "width": width, "height": height})
        if self._instances:
            for found in segmentation.objects():
                self._append(found.index, mask_to_coco_rle(found.mask), found.score)
            return
        for index, mask in segmentation.found():
            if self._split_parts:
                for instance in instances_of(segmentation, index):
                    self._append(index, instance.rle, instance.score)
            else:
                self._append(index, mask_to_coco_rle(mask), segmentation.category_score(index))

    def __len__(self) -> int:
        """Return how many annotations the file has."""
        return len(self._annotations)

    def _append(self, index: int, rle: CocoRLE, score: float) -> None:
        self._annotations.append(
            {
                "id": len(self._annotations) + 1,
                "image_id": len(self._images),
                "category_id": index + 1,
                "segmentation": rle,
                "area": coco_rle_area(rle),
                "bbox": coco_rle_bbox_xywh(rle),
                "iscrowd": 0,
                "score": shown_score(score),
            }
        )

    def dataset(self) -> CocoDataset:
        """Return the dataset of all images that were added, as `converters.datasets.coco.write_coco` takes it."""
        return {
            "info": {"description": "Predicted by ovdiff", "version": __version__, **note_of(self._thresholds)},
            "images": self._images,
            "categories": [
                {"id": number, "name": name, "supercategory": ""} for number, name in enumerate(self._names, start=1)
            ],
            "annotations": self._annotations,
        }
