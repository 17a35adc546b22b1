"""The COCO file of a run: an annotation with a score for each category that was found in an image, part or object.

    {"info", "images": [{id, file_name, width, height}], "categories": [{id, name, supercategory}],
     "annotations": [{id, image_id, category_id, segmentation, area, bbox, iscrowd, score}]}

`pycocotools.coco.COCO` loads the file; `converters.datasets.coco.coco_results` turns it into a list of results.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from backend import __version__
from backend.command.instances import instances_of
from backend.serving.predicting.limits import shown_score
from converters.datasets.coco import CocoDataset
from converters.datasets.coco_thresholds import note_of
from converters.encodings.coco_rle import CocoRLE, coco_rle_area, coco_rle_bbox_xywh, mask_to_coco_rle
from converters.files.json_values import JsonObject
from converters.selection import NO_THRESHOLDS, Thresholds
from ovdiff.segmentation import Segmentation


@dataclass(frozen=True)
class FoundMask:
    """A mask of an image: of a category, of one of its parts, or of an object.

    Attributes:
        index: the index of its category in the vocabulary.
        rle: its pixels.
        score: how sure the method is of it, in [0, 1].
    """

    index: int
    rle: CocoRLE
    score: float

    def annotation(self, number: int, image_id: int) -> JsonObject:
        """Return the mask as a COCO annotation of this id, of the image of that id."""
        return {
            "id": number,
            "image_id": image_id,
            "category_id": self.index + 1,
            "segmentation": self.rle,
            "area": coco_rle_area(self.rle),
            "bbox": coco_rle_bbox_xywh(self.rle),
            "iscrowd": 0,
            "score": shown_score(self.score),
        }


def masks_of(segmentation: Segmentation, *, split_parts: bool = False, instances: bool = False) -> Iterator[FoundMask]:
    """Yield the masks of a segmentation, of which each becomes an annotation.

    Args:
        segmentation: the segmentation.
        split_parts: yield each connected part of a category's mask, not the whole mask.
        instances: yield each object, which the segmentation then tells apart.
    """
    if instances:
        for found in segmentation.objects():
            yield FoundMask(found.index, mask_to_coco_rle(found.mask), found.score)
        return
    for index, mask in segmentation.found():
        if split_parts:
            for instance in instances_of(segmentation, index):
                yield FoundMask(index, instance.rle, instance.score)
        else:
            yield FoundMask(index, mask_to_coco_rle(mask), segmentation.category_score(index))


def coco_categories(names: Sequence[str]) -> list[JsonObject]:
    """Return the categories of a COCO file; category i + 1 is `names[i]`."""
    return [{"id": number, "name": name, "supercategory": ""} for number, name in enumerate(names, start=1)]


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
        self._images: list[JsonObject] = []
        self._annotations: list[JsonObject] = []

    def add(self, file_name: str, segmentation: Segmentation) -> None:
        """Add an image with its annotations; an image in which nothing was found is added without annotations."""
        height, width = segmentation.label_map.shape
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": file_name, "width": width, "height": height})
        first = len(self._annotations) + 1
        found = masks_of(segmentation, split_parts=self._split_parts, instances=self._instances)
        self._annotations += (found_mask.annotation(first + at, number) for at, found_mask in enumerate(found))

    def merge(self, other: CocoFile) -> None:
        """Add the images of another file of the same categories, with numbers that follow those of this one."""
        images, annotations = len(self._images), len(self._annotations)
        self._images += [image | {"id": image["id"] + images} for image in other._images]
        self._annotations += [
            each | {"id": each["id"] + annotations, "image_id": each["image_id"] + images}
            for each in other._annotations
        ]

    def __len__(self) -> int:
        """Return how many annotations the file has."""
        return len(self._annotations)

    def dataset(self) -> CocoDataset:
        """Return the dataset of all images that were added, as `converters.datasets.coco.write_coco` takes it."""
        return {
            "info": {"description": "Predicted by ovdiff", "version": __version__, **note_of(self._thresholds)},
            "images": self._images,
            "categories": coco_categories(self._names),
            "annotations": self._annotations,
        }
