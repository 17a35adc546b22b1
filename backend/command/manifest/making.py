"""The results of one shard: the rows' images are fetched, segmented, and become a COCO dataset.

This is all that is done for a shard, and it follows from the rows, the images and the run alone, so any process may do
it. Ids are unique over all shards without anybody counting: an annotation's id is its row's number times a million,
and the number of the mask in the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend import __version__
from backend.command.coco_file import coco_categories, masks_of
from backend.command.manifest.images import BringsImages, fetched_in_order
from backend.command.manifest.rows import BadRow, Batch, Row
from backend.command.one_image import segment_one
from backend.command.plan import Wanted
from backend.errors import ImageSourceError
from backend.sources.images import decode_image
from converters.datasets.coco_thresholds import note_of
from converters.files.json_values import JsonObject
from ovdiff.engines import SegmentationEngine
from ovdiff.errors import DeviceMemoryError, ImageError
from ovdiff.storage.redaction import without_secrets
from ovdiff.vocabulary import Vocabulary

MASKS_A_ROW = 1_000_000
"""An annotation's id is the number of its row times this, and the number of the mask from 0."""


@dataclass(frozen=True)
class Making:
    """What the shards of a run are made with.

    Attributes:
        vocabulary: the categories to look for.
        engine: the method.
        wanted: what is asked for of an image.
        images: brings the bytes of a row's image; several threads use it.
        max_px: images with more pixels are refused.
        version: the model version of the results.
    """

    vocabulary: Vocabulary
    engine: SegmentationEngine
    wanted: Wanted
    images: BringsImages
    max_px: int
    version: str


def make_shard(batch: Batch, making: Making) -> JsonObject:
    """Return the COCO dataset of a batch of rows; its `info` says what is in it and which rows have no result.

    Raises:
        OVDiffError: the engine cannot segment at all.
    """
    shard = _Shard([], [], [row for row in batch.rows if isinstance(row, BadRow)])
    good = [row for row in batch.rows if isinstance(row, Row)]
    for row, data in fetched_in_order(good, making.images.bytes_of):
        try:
            if isinstance(data, ImageSourceError):
                raise data
            image = decode_image(data, max_px=making.max_px)
            _require_size(row, image)
            shard.add(row, image, making)
        except (ImageSourceError, ImageError, DeviceMemoryError) as error:
            shard.left_out.append(BadRow(row.number, without_secrets(row.image), without_secrets(str(error))))
    return _dataset(batch, shard, making)


def _require_size(row: Row, image: NDArray[np.uint8]) -> None:
    height, width = image.shape[:2]
    if row.size_wh not in (None, (width, height)):
        raise ImageSourceError(
            f"the manifest says {row.size_wh} pixels (width, height), and the image has {(width, height)} as it is "
            "shown upright; correct the row, or leave width and height out"
        )


@dataclass
class _Shard:
    """What becomes of a shard's rows: images, annotations, and rows without a result."""

    images: list[JsonObject]
    annotations: list[JsonObject]
    left_out: list[BadRow]
    dropped_parts: int = 0
    hidden_masks: int = 0

    def add(self, row: Row, image: NDArray[np.uint8], making: Making) -> None:
        segmentation, dropped, hidden = segment_one(image, making.vocabulary, making.engine, making.wanted)
        found = masks_of(segmentation, split_parts=making.wanted.split_parts, instances=making.wanted.instances)
        for number, mask in enumerate(found):
            self.annotations.append(mask.annotation(row.number * MASKS_A_ROW + number, row.image_id))
        height, width = image.shape[:2]
        entry: JsonObject = {"id": row.image_id, "file_name": without_secrets(row.image)}
        entry |= {"width": width, "height": height}
        if row.row_id:
            entry["row_id"] = row.row_id
        if row.carried:
            entry["carried"] = dict(row.carried)
        self.images.append(entry)
        self.dropped_parts += dropped
        self.hidden_masks += hidden


def _dataset(batch: Batch, shard: _Shard, making: Making) -> JsonObject:
    names = making.vocabulary.names
    info = {
        "description": "Predicted by ovdiff",
        "version": __version__,
        **note_of(making.wanted.thresholds),
        "model_version": making.version,
        "rows": {"first": batch.first, "last": batch.last, "sha256": batch.digest(making.images.source_of)},
        "counts": {
            "images": len(shard.images),
            "annotations": len(shard.annotations),
            "left_out": len(shard.left_out),
            "failed_images": sum(isinstance(row, Row) for row in batch.rows) - len(shard.images),
            "dropped_parts": shard.dropped_parts,
            "hidden_masks": shard.hidden_masks,
        },
        "categories": _by_category(shard.annotations, names),
        "left_out": [vars(row) for row in sorted(shard.left_out, key=lambda row: row.number)],
    }
    return {
        "info": info,
        "images": shard.images,
        "categories": coco_categories(names),
        "annotations": shard.annotations,
    }


def _by_category(annotations: Sequence[JsonObject], names: Sequence[str]) -> dict[str, list[int]]:
    """Return of each category that was found how many images show it, how many masks, and how many pixels."""
    found: dict[int, list[int]] = {}
    images: set[tuple[int, int]] = set()
    for annotation in annotations:
        counts = found.setdefault(annotation["category_id"], [0, 0, 0])
        key = annotation["image_id"], annotation["category_id"]
        counts[0] += key not in images
        counts[1] += 1
        counts[2] += annotation["area"]
        images.add(key)
    return {names[number - 1]: counts for number, counts in sorted(found.items())}
