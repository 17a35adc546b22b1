"""The panoptic folder of a run: one PNG an image, in which each object has a colour, and one JSON file.

The folder is written by `converters.datasets.panoptic`, which tells how it looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from backend.serving.predicting.limits import shown_score
from converters.datasets.panoptic import PanopticOptions, write_panoptic
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.records import DatasetCategory, ImageRecord, Kind, Prediction, Region
from converters.selection import ConversionCounts
from ovdiff.segmentation import Segmentation

_ROOT = "/"  # names are written as addresses below it, so that no name is taken for an address of Label Studio


class PanopticFolder:
    """Collects the segmentations of a run, one image at a time; masks are kept as run lengths."""

    def __init__(self, names: Sequence[str]) -> None:
        """Start an empty folder; category i + 1 is `names[i]`."""
        self._names = tuple(names)
        self._records: list[ImageRecord] = []

    def add(self, file_name: str, segmentation: Segmentation) -> None:
        """Add an image with its objects; an image in which nothing was found is added without objects."""
        regions = tuple(
            Region(
                str(number),
                (self._names[found.index],),
                control="",
                rle=mask_to_coco_rle(found.mask),
                score=shown_score(found.score),
            )
            for number, found in enumerate(segmentation.objects(), start=1)
        )
        height, width = segmentation.label_map.shape
        number = len(self._records) + 1
        predictions = (Prediction(number, regions),)
        address = _ROOT + quote(file_name, errors="replace")
        self._records.append(ImageRecord(number, address, "", size_hw=(height, width), predictions=predictions))

    def merge(self, other: PanopticFolder) -> None:
        """Add the images of another folder of the same categories, with numbers that follow those of this one."""
        for each in other._records:
            number = len(self._records) + 1
            predictions = tuple(replace(prediction, id=number) for prediction in each.predictions)
            self._records.append(replace(each, task_id=number, predictions=predictions))

    def write(self, folder: Path, kinds: Sequence[Kind | None]) -> ConversionCounts:
        """Write the folder, which appears whole or not at all.

        Args:
            folder: a new or an empty folder.
            kinds: whether each category is a thing or stuff; None, which nobody knows, is taken for a thing.

        Raises:
            PanopticError: no image was added.
            OutputError: the folder is not empty or cannot be written.
        """
        options = PanopticOptions(source="predictions", image_root=_ROOT)
        pairs = enumerate(zip(self._names, kinds, strict=True), start=1)
        categories = [DatasetCategory(number, name, kind) for number, (name, kind) in pairs]
        return write_panoptic(self._records, categories, folder, options)
