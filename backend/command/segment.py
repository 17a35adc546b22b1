"""`ovdiff segment`: segment images, and write pictures of their masks and one COCO file."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.command.addresses import read_bytes
from backend.command.coco_file import CocoFile
from backend.command.console import complain, progress_bar, say
from backend.command.files import write_png
from backend.command.instances import without_low_scores
from backend.command.overlap import Behind, ahead, grouped
from backend.command.panoptic_folder import PanopticFolder
from backend.command.plan import Job, Plan, Wanted
from backend.command.prototypes import build_missing, say_aside, say_missing_anchors
from backend.command.totals import Totals
from backend.errors import ImageSourceError, RequestError, UsageError
from backend.presentation.overlay import MOST_INDEXED, draw_indexed, draw_overlay
from backend.serving.predicting.limits import shown_score, without_small_parts
from backend.sources.images import decode_image
from converters.console import answer
from converters.datasets.coco import write_coco
from converters.errors import RecordError
from converters.records import Kind
from ovdiff.engines import FindsInstances, HasKinds, SegmentationEngine, SegmentsTogether
from ovdiff.errors import DeviceMemoryError, ImageError
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Vocabulary

IMAGE_ERRORS = (ImageSourceError, ImageError, DeviceMemoryError)
"""Errors that concern one image alone: after them the other images are still segmented."""

Found = Segmentation | Exception
"""An image's segmentation, or the error that concerns it alone."""

_MOST_BEHIND = 4  # images whose results are not written yet

_log = logging.getLogger(__name__)


def check_vocabulary(vocabulary: Vocabulary, plan: Plan) -> None:
    """Refuse more categories than an indexed picture can hold, and thresholds of what is no category.

    Raises:
        UsageError: indexed pictures are wanted, and there are too many categories for them; or a threshold names no
            category.
    """
    try:
        plan.wanted.thresholds.require_known(vocabulary.names)
    except RecordError as error:
        raise UsageError(str(error)) from error
    count = len(vocabulary.categories)
    if count > MOST_INDEXED and any(job.indexed for job in plan.jobs):
        raise UsageError(f"--indexed holds at most {MOST_INDEXED} categories, got {count}; --coco holds any number.")


def segment_images(plan: Plan, vocabulary: Vocabulary, engine: SegmentationEngine, *, max_px: int) -> None:
    """Segment the images of a plan, and print a table of the categories that were found.

    Prototypes that the bank lacks are made first; this takes seconds to minutes for each category. Each picture is
    written as soon as its image is segmented. The COCO file is written at the end; if the run fails or is interrupted,
    it holds the images that were segmented until then.

    Args:
        plan: the images, and the paths of the results.
        vocabulary: the categories to look for.
        engine: the method.
        max_px: images with more pixels are refused.

    Raises:
        UsageError: objects are wanted, but the engine does not tell them apart.
        RequestError: some images could not be segmented, and each was reported; or a file cannot be written.
        OVDiffError: prototypes cannot be made or read, or a model cannot be loaded.
    """
    require_finder(engine, plan.wanted)
    build_missing(vocabulary.categories, engine)
    say_missing_anchors(engine)
    say_aside(vocabulary, engine)
    totals, datasets = Totals(vocabulary.names), _Datasets(plan.wanted, vocabulary, engine)
    told: list[dict[str, object]] = []

    def finish(job: Job, image: NDArray[np.uint8] | None, found: Found) -> None:
        """Do what no model does with an image's segmentation; in the order of the jobs."""
        try:
            if image is None or isinstance(found, Exception):
                raise found if isinstance(found, Exception) else TypeError("an image that is not there was segmented")
            segmentation, dropped, hidden = _finished(image, found, vocabulary, engine, plan.wanted)
            _write_pictures(job, image, segmentation, vocabulary)
        except IMAGE_ERRORS as error:
            totals.failed += 1
            complain(f"{job.image}: {error}")
            told.append({"image": job.image, "error": str(error)})
        else:
            found_here = _found(segmentation, vocabulary.names)
            told.append({"image": job.image, "categories": found_here, "written": job.written})
            datasets.add(job.name, segmentation)
            totals.add(segmentation)
            totals.dropped_parts += dropped
            totals.hidden += hidden

    try:
        with progress_bar(len(plan.jobs)) as bar, Behind(_MOST_BEHIND) as behind:
            for job, image, found in segmented(plan.jobs, vocabulary, engine, max_px):
                bar.set_description(job.name)
                behind.do(partial(finish, job, image, found))
                bar.update()
    finally:
        _finish(plan, totals, datasets, told)
    if totals.failed:
        raise RequestError(f"{totals.failed} of {len(plan.jobs)} images could not be segmented; they are named above.")


def segmented(
    jobs: Sequence[Job], vocabulary: Vocabulary, engine: SegmentationEngine, max_px: int
) -> Iterator[tuple[Job, NDArray[np.uint8] | None, Found]]:
    """Yield each job in order with its image and segmentation; an error that concerns one image alone in its place.

    Images are read, and as far as the engine says prepared, ahead in threads. An engine that takes several images at
    once is given so many.

    Raises:
        OVDiffError: the engine cannot segment at all.
    """
    together = engine.images_together if isinstance(engine, SegmentsTogether) else 1

    def load(job: Job) -> _Loaded:
        image = read_image_file(job.image, max_px)
        prepared = engine.prepared(image) if together > 1 and isinstance(engine, SegmentsTogether) else None
        return _Loaded(job, image, prepared)

    for group in grouped(ahead(jobs, load, most=together), together):
        loaded = [outcome.made for outcome in group if outcome.made is not None]
        found = iter(_segment_group(loaded, vocabulary, engine))
        for outcome in group:
            if outcome.made is not None:
                yield outcome.item, outcome.made.image, next(found)
            elif isinstance(outcome.error, IMAGE_ERRORS):
                yield outcome.item, None, outcome.error
            else:
                outcome.take()


class _Loaded(NamedTuple):
    job: Job
    image: NDArray[np.uint8]
    prepared: NDArray[np.uint8] | None


def _segment_group(loaded: Sequence[_Loaded], vocabulary: Vocabulary, engine: SegmentationEngine) -> Iterator[Found]:
    """Yield the segmentations of images; of several at once, if the engine can, and one by one if that fails."""
    if len(loaded) > 1 and isinstance(engine, SegmentsTogether):
        workings = [each.prepared for each in loaded if each.prepared is not None]
        try:
            yield from engine.segment_together([each.image for each in loaded], vocabulary, workings)
            return
        except IMAGE_ERRORS as error:
            _log.warning("%d images at once failed (%s); going on one by one", len(loaded), error)
    for each in loaded:
        try:
            found: Found = engine.segment(each.image, vocabulary)
        except IMAGE_ERRORS as error:
            found = error
        yield found


def require_finder(engine: SegmentationEngine, wanted: Wanted) -> None:
    """Refuse an engine that does not tell objects apart, where they are wanted.

    Raises:
        UsageError: objects are wanted, but the engine does not tell them apart.
    """
    if wanted.objects and not isinstance(engine, FindsInstances):
        raise UsageError(
            f"The engine {engine.preset.engine!r} does not tell objects apart; leave out --instances and --panoptic. "
            "--split-parts makes an annotation of each connected part."
        )


def segment_one(
    image: NDArray[np.uint8], vocabulary: Vocabulary, engine: SegmentationEngine, wanted: Wanted
) -> tuple[Segmentation, int, int]:
    """Return what is shown of an image's segmentation, and how many parts were too small and how many scores too low.

    Args:
        image: (H, W, 3) uint8 RGB.
        vocabulary: the categories to look for.
        engine: the method.
        wanted: what is asked for; where objects are wanted, the engine tells them apart.
    """
    return _finished(image, engine.segment(image, vocabulary), vocabulary, engine, wanted)


def _finished(
    image: NDArray[np.uint8],
    found: Segmentation,
    vocabulary: Vocabulary,
    engine: SegmentationEngine,
    wanted: Wanted,
) -> tuple[Segmentation, int, int]:
    """Tell objects apart where they are wanted, and return what is shown as `segment_one` does."""
    if wanted.objects and isinstance(engine, FindsInstances):
        found = engine.with_instances(image, found, vocabulary)
    return _shown(found, vocabulary, wanted)


class _Datasets:
    """The datasets of a run: its COCO file and its panoptic folder, as far as they are wanted."""

    def __init__(self, wanted: Wanted, vocabulary: Vocabulary, engine: SegmentationEngine) -> None:
        names, self._wanted, self._engine, self._vocabulary = vocabulary.names, wanted, engine, vocabulary
        self.coco = CocoFile(
            names, split_parts=wanted.split_parts, instances=wanted.instances, thresholds=wanted.thresholds
        )
        self._panoptic = PanopticFolder(names) if wanted.panoptic else None

    def add(self, name: str, segmentation: Segmentation) -> None:
        """Add an image."""
        self.coco.add(name, segmentation)
        if self._panoptic is not None:
            self._panoptic.add(name, segmentation)

    def write(self) -> None:
        """Write what is wanted, of at least one image, and say what a panoptic folder could not hold."""
        if self._wanted.coco is not None:
            write_coco(self.coco.dataset(), self._wanted.coco, allow_empty=True)
        if self._panoptic is not None and self._wanted.panoptic is not None:
            counts = self._panoptic.write(self._wanted.panoptic, _kinds(self._vocabulary, self._engine))
            say(f"segments in {self._wanted.panoptic}: {counts.regions_out}")
            if counts.left_out:
                complain(f"Left out of {self._wanted.panoptic}: {counts.reasons()}.")


def _kinds(vocabulary: Vocabulary, engine: SegmentationEngine) -> list[Kind | None]:
    """Return whether each category is a thing or stuff; None where the engine does not say."""
    if not isinstance(engine, HasKinds):
        return [category.kind for category in vocabulary.categories]
    decided = [engine.kind_so_far(category) for category in vocabulary.categories]
    return [decision.kind if decision else None for decision in decided]


def _shown(found: Segmentation, vocabulary: Vocabulary, wanted: Wanted) -> tuple[Segmentation, int, int]:
    """Return what is shown of a segmentation, and how many parts were too small and how many scores too low."""
    areas = dict.fromkeys(range(len(vocabulary.names)), wanted.min_area_px)
    segmentation, dropped = without_small_parts(found, areas)
    leasts = [wanted.thresholds.of(name) for name in vocabulary.names]
    segmentation, hidden = without_low_scores(segmentation, leasts, split_parts=wanted.split_parts)
    return segmentation, sum(dropped.values()), hidden


def _write_pictures(job: Job, image: NDArray[np.uint8], segmentation: Segmentation, vocabulary: Vocabulary) -> None:
    """Write the pictures of one image."""
    if job.overlay is not None:
        write_png(Image.fromarray(draw_overlay(image, segmentation, vocabulary.names)), job.overlay)
    if job.indexed is not None:
        write_png(draw_indexed(segmentation, len(vocabulary.names)), job.indexed)


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


def _finish(plan: Plan, totals: Totals, datasets: _Datasets, told: list[dict[str, object]]) -> None:
    """Write the datasets of the segmented images, and print how many images went in and what became of them."""
    if totals.segmented:
        datasets.write()
        say(totals.table())
        if plan.wanted.min_area_px:
            say(f"parts smaller than {plan.wanted.min_area_px} px dropped: {totals.dropped_parts}")
        if plan.wanted.thresholds:
            say(f"masks below their threshold hidden: {totals.hidden}")
        if plan.coco is not None:
            say(f"annotations in {plan.coco}: {len(datasets.coco)}")
            say(f"what other thresholds would leave of them: ovdiff thresholds {plan.coco}")
    counts = {"segmented": totals.segmented, "failed": totals.failed}
    counts["not done"] = len(plan.jobs) - sum(counts.values())
    listed = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "segmented")
    say(f"images: {len(plan.jobs)} in, {listed}")
    if plan.left_out:
        listed = ", ".join(f"{count} {suffix}" for suffix, count in sorted(plan.left_out.items()))
        say(f"other files, left alone: {listed}")
    if totals.segmented:
        say(f"results: {', '.join(map(str, plan.places()))}")
    answer(
        {
            "images": told,
            "categories": totals.of_categories(),
            **{what.replace(" ", "_"): count for what, count in counts.items()},
            "dropped_parts": totals.dropped_parts,
            "hidden_masks": totals.hidden,
            "coco": {"file": plan.coco, "annotations": len(datasets.coco)} if plan.coco else None,
            "panoptic": plan.wanted.panoptic,
            "other_files": dict(plan.left_out),
        }
    )


def read_image_file(path: Path, max_px: int) -> NDArray[np.uint8]:
    """Return a file's image as (H, W, 3) uint8 RGB, upright.

    Raises:
        ImageSourceError: the file cannot be read, is no image, or has more than ``max_px`` pixels.
    """
    return decode_image(read_bytes(path), max_px=max_px)
