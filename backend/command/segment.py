"""`ovdiff segment`: segment images, and write pictures of their masks and one COCO file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backend.command.addresses import read_bytes
from backend.command.console import complain, progress_bar, say
from backend.command.files import write_picture
from backend.command.one_image import Done, Failed, Segmenting, empty_coco
from backend.command.overlap import THREADS, Behind, grouped
from backend.command.panoptic_folder import PanopticFolder
from backend.command.plan import Job, Plan, Wanted
from backend.command.prototypes import build_missing, say_aside, say_missing_anchors
from backend.command.segmented import Reading, segmented
from backend.command.totals import Totals
from backend.errors import RequestError, UsageError
from backend.presentation.overlay import MOST_INDEXED
from backend.serving.predicting.together import Found, images_together
from backend.settings import ImageSettings
from backend.sources.images import decode_image
from converters.console import answer
from converters.datasets.coco import write_coco
from converters.errors import RecordError
from converters.records import Kind
from converters.workers import in_order
from ovdiff.distributed.pool import AHEAD
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.building import HasKinds
from ovdiff.engines.segmenting import FindsInstances
from ovdiff.vocabulary import Vocabulary

if TYPE_CHECKING:
    from backend.command.on_processes import OnProcesses, Segmenters
    from backend.command.on_ray import OnRay

_MOST_BEHIND = 4  # images whose results are not written yet


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


def segment_images(
    plan: Plan,
    vocabulary: Vocabulary,
    engine: SegmentationEngine,
    *,
    max_px: int,
    px_at_once: int = ImageSettings.pixels_at_once,
    ray: OnRay | None = None,
    processes: OnProcesses | None = None,
) -> None:
    """Segment the images of a plan, and print a table of the categories that were found.

    Prototypes that the bank lacks are made first; this takes seconds to minutes for each category. Each picture is
    written as soon as its image is segmented. The COCO file is written at the end; if the run fails or is interrupted,
    it holds the images that were segmented until then.

    Args:
        plan: the images, and the paths of the results.
        vocabulary: the categories to look for.
        engine: the method.
        max_px: images with more pixels are refused.
        px_at_once: so many pixels at most are decoded ahead, and as many are segmented at once; or one larger image.
        ray: the cluster on which engines like this one do the work; this process writes what they found.
        processes: the processes of this machine that do it, where there is no cluster; prototypes are made in this one.

    Raises:
        UsageError: objects are wanted, but the engine does not tell them apart.
        RequestError: some images could not be segmented, and each was reported; or a file cannot be written.
        OVDiffError: prototypes cannot be made or read, or a model cannot be loaded; or the cluster was lost.
        WorkersError: a process ended before its work did.
    """
    require_finder(engine, plan.wanted)
    build_missing(vocabulary.categories, engine, ray=ray)
    say_missing_anchors(engine)
    say_aside(vocabulary, engine)
    segmenting = Segmenting(vocabulary, plan.wanted, max_px)
    totals, datasets = Totals(vocabulary.names), _Datasets(plan.wanted, vocabulary, engine)
    told: list[dict[str, object]] = []

    def write(job: Job, done: Done | Failed) -> None:
        """Write and count what was found in an image; in the order of the jobs."""
        if isinstance(done, Failed):
            totals.failed += 1
            complain(f"{job.image}: {done.why}")
            told.append({"image": job.image, "error": done.why})
            return
        for path, picture in done.pictures:
            write_picture(picture, path)
        told.append({"image": job.image, "categories": done.found, "written": job.written})
        datasets.merge(done)
        totals.merge(done.totals)

    def finish(job: Job, image: NDArray[np.uint8] | None, found: Found | None) -> None:
        """Do what no model does with an image's segmentation."""
        looked = Failed(str(found)) if image is None or found is None else segmenting.shown(image, found, engine)
        write(job, segmenting.drawn(job, looked))

    reading: Reading[Job] = Reading(
        fetch=lambda job: read_bytes(job.image),
        decode=lambda _job, data: decode_image(data, max_px=max_px),
        fetched=THREADS,
        px_at_once=px_at_once,
    )
    elsewhere: Segmenters | None = processes if ray is None else ray
    try:
        with progress_bar(len(plan.jobs), "image") as bar, Behind(_MOST_BEHIND) as behind:
            if elsewhere is None:
                for job, image, found in segmented(plan.jobs, reading, vocabulary, engine):
                    bar.set_description(job.name)
                    behind.do(partial(finish, job, image, found))
                    bar.update()
            else:
                for job, done in _elsewhere(plan.jobs, segmenting, engine, elsewhere):
                    bar.set_description(job.name)
                    behind.do(partial(write, job, done))
                    bar.update()
    except KeyboardInterrupt:
        complain("Give the images that are not done alone, or all of them: results are then written anew.")
        raise
    finally:
        _finish(plan, totals, datasets, told)
    if totals.failed:
        raise RequestError(f"{totals.failed} of {len(plan.jobs)} images could not be segmented; they are named above.")


def _elsewhere(
    jobs: Sequence[Job], segmenting: Segmenting, engine: SegmentationEngine, elsewhere: Segmenters
) -> Iterator[tuple[Job, Done | Failed]]:
    """Yield each job in order with what other engines found; an engine is given as many as it takes at once."""
    groups = grouped(jobs, images_together(engine))
    with elsewhere.segmenters(engine) as pool:
        for group, done in in_order(partial(pool.submit, segmenting.stages), groups, pool.workers * AHEAD):
            yield from zip(group, done, strict=True)


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


class _Datasets:
    """The datasets of a run: its COCO file and its panoptic folder, as far as they are wanted."""

    def __init__(self, wanted: Wanted, vocabulary: Vocabulary, engine: SegmentationEngine) -> None:
        names, self._wanted, self._engine, self._vocabulary = vocabulary.names, wanted, engine, vocabulary
        self.coco = empty_coco(names, wanted)
        self._panoptic = PanopticFolder(names) if wanted.panoptic else None

    def merge(self, done: Done) -> None:
        """Add an image."""
        self.coco.merge(done.coco)
        if self._panoptic is not None and done.panoptic is not None:
            self._panoptic.merge(done.panoptic)

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
