"""What is done with a row: its image is read, looked at, and becomes an entry and annotations; and a shard of that.

All of it follows from the row, its image and the run alone, so any process may do it, in any order. Ids are unique over
all shards without anybody counting: an annotation's id is its row's number times a million, and the number of the mask
in the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backend import __version__
from backend.command.coco_file import coco_categories, masks_of
from backend.command.manifest.image_identity import image_name
from backend.command.manifest.rows import BadRow, Batch, Row
from backend.command.one_image import IMAGE_ERRORS, what_is_shown
from backend.command.plan import Wanted
from backend.errors import ImageSourceError
from backend.serving.predicting.together import Found, segment_group
from backend.settings import ImageSettings
from backend.sources.images import decode_image
from converters.datasets.coco_thresholds import note_of
from converters.files.json_values import JsonObject
from converters.files.redaction import without_secrets
from ovdiff.distributed.engine_worker import engine_here
from ovdiff.distributed.stages import Stages
from ovdiff.engines import SegmentationEngine
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Vocabulary

MASKS_A_ROW = 1_000_000
"""An annotation's id is the number of its row times this, and the number of the mask from 0."""


class BringsImages(Protocol):
    """What brings the images of rows; threads may share it, and it can be pickled."""

    def bytes_of(self, row: Row) -> bytes:
        """Return the bytes of a row's image.

        Raises:
            ImageSourceError: they cannot be had, or are too many.
            StorageError: a storage is away for too long, so that the run ends; finished shards stay.
        """
        ...

    def source_of(self, row: Row) -> str:
        """Return where a row's image is looked for; "" where the row says it all, as an address does."""
        ...


@dataclass(frozen=True)
class Looked:
    """What is shown of an image.

    Attributes:
        segmentation: what is shown of its segmentation.
        dropped_parts: how many parts of masks were too small.
        hidden_masks: how many masks had too low a score.
    """

    segmentation: Segmentation
    dropped_parts: int
    hidden_masks: int


ReadRow = tuple[Row, NDArray[np.uint8] | BadRow]
"""A row with its image, (H, W, 3) uint8 RGB, or with why there is none."""

SeenRow = tuple[Row, Looked | BadRow]
"""A row with what its image shows, or with why nobody can say."""


@dataclass(frozen=True)
class RowResult:
    """What becomes of a row.

    Attributes:
        image: its entry in a COCO file.
        annotations: its annotations there.
        dropped_parts: how many parts of masks were too small.
        hidden_masks: how many masks had too low a score.
    """

    image: JsonObject
    annotations: list[JsonObject]
    dropped_parts: int
    hidden_masks: int


@dataclass(frozen=True)
class Making:
    """What is done with each row; picklable. The engine is that of the process.

    Attributes:
        vocabulary: the categories to look for.
        wanted: what is asked for of an image.
        images: brings the images.
        max_px: images with more pixels are refused.
        version: the model version of the results.
        px_at_once: so many pixels at most are in each step of this process: decoded, segmented, encoded; or one larger
            image.
    """

    vocabulary: Vocabulary
    wanted: Wanted
    images: BringsImages
    max_px: int
    version: str
    px_at_once: int = ImageSettings.pixels_at_once

    @property
    def stages(
        self,
    ) -> Stages[Row, ReadRow, SeenRow, RowResult | BadRow]:
        """The three steps."""
        return Stages(self.read, self.look, self.encode)

    def read(self, row: Row) -> ReadRow:
        """Fetch and decode the image of a row."""
        try:
            return row, self.decode(row, self.fetch(row))
        except IMAGE_ERRORS as error:
            return row, without_result(row, error)

    def fetch(self, row: Row) -> bytes:
        """Fetch the image of a row.

        Raises:
            ImageSourceError: it cannot be had.
        """
        return self.images.bytes_of(row)

    def decode(self, row: Row, data: bytes) -> NDArray[np.uint8]:
        """Decode the image of a row.

        Raises:
            ImageSourceError: it is no picture, or another one than the row says.
        """
        image = decode_image(data, max_px=self.max_px)
        _require_size(row, image)
        return image

    def look(self, given: ReadRow) -> SeenRow:
        """Segment an image with the engine of this process."""
        row, image = given
        if isinstance(image, BadRow):
            return row, image
        engine = engine_here()
        return self.shown(row, image, next(segment_group([image], None, self.vocabulary, engine)), engine)

    def shown(self, row: Row, image: NDArray[np.uint8], found: Found, engine: SegmentationEngine) -> SeenRow:
        """Return what is shown of an image's segmentation; where objects are wanted, the engine tells them apart."""
        try:
            return row, Looked(*what_is_shown(image, found, self.vocabulary, engine, self.wanted))
        except IMAGE_ERRORS as error:
            return row, without_result(row, error)

    def encode(self, given: SeenRow) -> RowResult | BadRow:
        """Encode what was found."""
        row, looked = given
        if isinstance(looked, BadRow):
            return looked
        found = masks_of(looked.segmentation, split_parts=self.wanted.split_parts, instances=self.wanted.instances)
        first = row.number * MASKS_A_ROW
        annotations = [mask.annotation(first + number, row.image_id) for number, mask in enumerate(found)]
        height, width = looked.segmentation.label_map.shape
        entry: JsonObject = {"id": row.image_id, "file_name": image_name(row.image)}
        entry |= {"width": width, "height": height}
        if row.row_id:
            entry["row_id"] = row.row_id
        if row.carried:
            entry["carried"] = dict(row.carried)
        return RowResult(entry, annotations, looked.dropped_parts, looked.hidden_masks)


def without_result(row: Row, error: Exception) -> BadRow:
    """Return a row whose image has no result, and why, without secrets."""
    return BadRow(row.number, without_secrets(row.image), without_secrets(str(error)))


def _require_size(row: Row, image: NDArray[np.uint8]) -> None:
    height, width = image.shape[:2]
    if row.size_wh not in (None, (width, height)):
        raise ImageSourceError(
            f"the manifest says {row.size_wh} pixels (width, height), and the image has {(width, height)} as it is "
            "shown upright; correct the row, or leave width and height out"
        )


def shard_of(batch: Batch, results: Sequence[RowResult | BadRow], making: Making) -> JsonObject:
    """Return the COCO dataset of a batch of rows; its `info` says what is in it and which rows have no result.

    Args:
        batch: the rows.
        results: what became of each of them, in their order.
        making: what was done with them.
    """
    names = making.vocabulary.names
    good = [result for result in results if isinstance(result, RowResult)]
    left_out = [result for result in results if isinstance(result, BadRow)]
    annotations = [annotation for result in good for annotation in result.annotations]
    info = {
        "description": "Predicted by ovdiff",
        "version": __version__,
        **note_of(making.wanted.thresholds),
        "model_version": making.version,
        "rows": {"first": batch.first, "last": batch.last, "sha256": batch.digest(making.images.source_of)},
        "counts": {
            "images": len(good),
            "annotations": len(annotations),
            "left_out": len(left_out),
            "failed_images": sum(isinstance(row, Row) for row in batch.rows) - len(good),
            "dropped_parts": sum(result.dropped_parts for result in good),
            "hidden_masks": sum(result.hidden_masks for result in good),
        },
        "categories": _by_category(annotations, names),
        "left_out": [vars(row) for row in left_out],
    }
    images = [result.image for result in good]
    return {"info": info, "images": images, "categories": coco_categories(names), "annotations": annotations}


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
