"""What `ovdiff segment` does with an image, in three steps: read it, look at it, draw and encode what was found.

Only the second step needs models. In one process the others are done beside it, in threads; on a Ray cluster with GPUs
on processors alone. What comes out is everything that is written or counted, and no pixels: bytes of pictures, run
lengths, sums.

Tested by tests/backend/command/test_one_image.py, and on a cluster by tests/backend/command/test_ray.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.command.addresses import read_bytes
from backend.command.coco_file import CocoFile
from backend.command.files import png_bytes
from backend.command.instances import without_low_scores
from backend.command.panoptic_folder import PanopticFolder
from backend.command.plan import Job, Wanted
from backend.command.totals import Totals
from backend.errors import ImageSourceError
from backend.presentation.overlay import draw_indexed, draw_overlay
from backend.serving.predicting.limits import shown_score, without_small_parts
from backend.serving.predicting.together import Found, segment_group
from backend.sources.images import decode_image
from ovdiff.distributed.engine_worker import engine_here
from ovdiff.distributed.stages import Stages
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.segmenting import FindsInstances
from ovdiff.errors import DeviceMemoryError, ImageError
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Vocabulary

IMAGE_ERRORS = (ImageSourceError, ImageError, DeviceMemoryError)
"""Errors that concern one image alone: after them the other images are still segmented."""


@dataclass(frozen=True)
class Failed:
    """An image that could not be segmented, and why."""

    why: str


@dataclass(frozen=True)
class Looked:
    """An image, (H, W, 3) uint8 RGB, and what is shown of its segmentation.

    Attributes:
        image: the image.
        segmentation: what is shown.
        dropped_parts: how many parts of masks were too small.
        hidden: how many masks had too low a score.
    """

    image: NDArray[np.uint8]
    segmentation: Segmentation
    dropped_parts: int
    hidden: int


Read = Sequence[tuple[Job, NDArray[np.uint8] | Failed]]
"""What the first step hands to the second one: images, (H, W, 3) uint8 RGB."""

Seen = Sequence[tuple[Job, Looked | Failed]]
"""What the second step hands to the third one."""


@dataclass(frozen=True)
class Done:
    """All that is written and counted of one image.

    Attributes:
        found: the categories that it shows, as JSON.
        pictures: the files of its pictures and their bytes.
        totals: its part in the totals of the run.
        coco: its part in the COCO file.
        panoptic: its part in the panoptic folder, if that is wanted.
    """

    found: list[dict[str, object]]
    pictures: tuple[tuple[Path, bytes], ...]
    totals: Totals
    coco: CocoFile
    panoptic: PanopticFolder | None


@dataclass(frozen=True)
class Segmenting:
    """What is asked of each image; picklable.

    Attributes:
        vocabulary: the categories to look for.
        wanted: the results.
        max_px: images with more pixels are refused.
    """

    vocabulary: Vocabulary
    wanted: Wanted
    max_px: int

    @property
    def stages(self) -> Stages[Sequence[Job], Read, Seen, Sequence[Done | Failed]]:
        """The three steps for images that are looked at together; the engine is that of the process."""
        return Stages(self.read, self.look, self.draw)

    def read(self, jobs: Sequence[Job]) -> Read:
        """Read and decode images."""
        return [(job, self._read_one(job)) for job in jobs]

    def look(self, given: Read) -> Seen:
        """Segment images with the engine of this process."""
        engine = engine_here()
        images = [image for _, image in given if not isinstance(image, Failed)]
        found = iter(segment_group(images, None, self.vocabulary, engine))
        return [
            (job, image if isinstance(image, Failed) else self.shown(image, next(found), engine))
            for job, image in given
        ]

    def draw(self, given: Seen) -> Sequence[Done | Failed]:
        """Draw and encode what was found."""
        return [self.drawn(job, looked) for job, looked in given]

    def shown(self, image: NDArray[np.uint8], found: Found, engine: SegmentationEngine) -> Looked | Failed:
        """Return what is shown of an image's segmentation; where objects are wanted, the engine tells them apart."""
        try:
            return Looked(image, *what_is_shown(image, found, self.vocabulary, engine, self.wanted))
        except IMAGE_ERRORS as error:
            return Failed(str(error))

    def drawn(self, job: Job, looked: Looked | Failed) -> Done | Failed:
        """Draw and encode what is shown of one image."""
        if isinstance(looked, Failed):
            return looked
        names, found = self.vocabulary.names, looked.segmentation
        totals, coco = Totals(names), empty_coco(names, self.wanted)
        totals.add(found)
        totals.dropped_parts, totals.hidden = looked.dropped_parts, looked.hidden
        coco.add(job.name, found)
        panoptic = PanopticFolder(names) if self.wanted.panoptic else None
        if panoptic is not None:
            panoptic.add(job.name, found)
        return Done(_found(found, names), tuple(_pictures(job, looked, names)), totals, coco, panoptic)

    def _read_one(self, job: Job) -> NDArray[np.uint8] | Failed:
        try:
            return read_image_file(job.image, self.max_px)
        except IMAGE_ERRORS as error:
            return Failed(str(error))


def what_is_shown(
    image: NDArray[np.uint8], found: Found, vocabulary: Vocabulary, engine: SegmentationEngine, wanted: Wanted
) -> tuple[Segmentation, int, int]:
    """Return what is shown of an image's segmentation, and how many parts were too small and how many scores too low.

    Args:
        image: (H, W, 3) uint8 RGB.
        found: its segmentation; an error is raised.
        vocabulary: the categories to look for.
        engine: the method.
        wanted: what is asked for; where objects are wanted, the engine tells them apart.
    """
    if isinstance(found, Exception):
        raise found
    if wanted.objects and isinstance(engine, FindsInstances):
        found = engine.with_instances(image, found, vocabulary)
    areas = dict.fromkeys(range(len(vocabulary.names)), wanted.min_area_px)
    segmentation, dropped = without_small_parts(found, areas)
    leasts = [wanted.thresholds.of(name) for name in vocabulary.names]
    segmentation, hidden = without_low_scores(segmentation, leasts, split_parts=wanted.split_parts)
    return segmentation, sum(dropped.values()), hidden


def empty_coco(names: Sequence[str], wanted: Wanted) -> CocoFile:
    """Return a COCO file as it is wanted, without images."""
    return CocoFile(names, split_parts=wanted.split_parts, instances=wanted.instances, thresholds=wanted.thresholds)


def read_image_file(path: Path, max_px: int) -> NDArray[np.uint8]:
    """Return a file's image as (H, W, 3) uint8 RGB, upright.

    Raises:
        ImageSourceError: the file cannot be read, is no image, or has more than ``max_px`` pixels.
    """
    return decode_image(read_bytes(path), max_px=max_px)


def _pictures(job: Job, looked: Looked, names: Sequence[str]) -> list[tuple[Path, bytes]]:
    pictures = []
    if job.overlay is not None:
        overlay = Image.fromarray(draw_overlay(looked.image, looked.segmentation, names))
        pictures.append((job.overlay, png_bytes(overlay)))
    if job.indexed is not None:
        pictures.append((job.indexed, png_bytes(draw_indexed(looked.segmentation, len(names)))))
    return pictures


def _found(segmentation: Segmentation, names: Sequence[str]) -> list[dict[str, object]]:
    """Return the categories that an image shows, and the size and the score of each."""
    return [
        {
            "category": names[index],
            "area_px": int(np.count_nonzero(mask)),
            "score": shown_score(segmentation.category_score(index)),
        }
        for index, mask in segmentation.found()
    ]
