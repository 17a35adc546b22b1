"""`ovdiff learn`: the annotated tasks of an export become lessons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backend.command.addresses import ImagesBelow
from backend.command.console import complain, progress_bar, say
from backend.command.prototypes import build_missing, say_missing_anchors
from backend.command.refusals import cannot
from backend.errors import ImageSourceError, RequestError, UsageError
from backend.serving.teaching.annotated import Scope
from backend.serving.teaching.taking import (
    REFUSALS,
    Drafting,
    ReadImage,
    Taken,
    Taking,
    kinds_of,
    vocabularies_of,
    why_without_image,
)
from backend.serving.vocabulary import read_labelling
from backend.settings import ImageSettings, LabelStudioSettings
from backend.sources.fetch import Fetcher
from backend.sources.images import ImageSource, decode_image
from backend.sources.label_studio import LabelStudioClient
from converters import records
from converters.console import answer
from converters.encodings.overlaps import RULE
from converters.label_studio.label_config import LabelConfig
from converters.label_studio.own_attributes import skipped_labels
from converters.label_studio.reader import Wanted, read_export
from converters.workers import in_order
from ovdiff.bank.lessons import Lesson
from ovdiff.distributed.pool import AHEAD
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.learning import Learns
from ovdiff.vocabulary import Vocabulary

if TYPE_CHECKING:
    from backend.command.on_ray import OnRay

_TRAINING = "train a head of ODISE on the export: ovdiff odise train"


@dataclass(frozen=True)
class Choices:
    """What is learned from.

    Attributes:
        labels: the labels that were annotated everywhere; ``None`` means all. Regions of other labels are passed over.
        partial: whether all annotations are partial: only labelled pixels count.
        every_annotator: whether each person's annotation of a task gives a lesson, and not one annotation alone.
    """

    labels: tuple[str, ...] | None = None
    partial: bool = False
    every_annotator: bool = False


@dataclass(frozen=True)
class _Refusal:
    task: int | str | None
    annotation: int | str | None
    error: str


@dataclass
class _Counts:
    tasks: int = 0
    taken: int = 0
    there: int = 0
    replaced: int = 0
    contested_px: int = 0
    passed: Counter[str] = field(default_factory=Counter)
    refusals: list[_Refusal] = field(default_factory=list)

    def refuse(self, task: int | str | None, annotation: int | str | None, why: str) -> None:
        self.refusals.append(_Refusal(task, annotation, why))
        complain(f"task {task}{'' if annotation is None else f', annotation {annotation}'}: {why}")

    def note(self, taken: Taken) -> None:
        self.there += not taken.is_new
        self.taken += taken.is_new
        self.replaced += taken.replaced
        self.contested_px += taken.contested_px


def learn_from_export(
    export: Path,
    config: LabelConfig,
    config_text: str,
    engine: SegmentationEngine,
    read_image: ReadImage,
    choices: Choices,
    max_categories: int,
    ray: OnRay | None = None,
) -> None:
    """Take a lesson of each annotated image of an export, and say what was taken, what was there, and what was refused.

    Cost: that of segmenting each image, and less than a second more; prototypes that are missing are made first. A
    second run adds nothing and runs no model on an image. Lessons that were taken stay if the run is interrupted.

    Args:
        export: the tasks, as Label Studio exports them.
        config: their label config.
        config_text: the same as text.
        engine: the method.
        read_image: gives the image of a task.
        choices: what is learned from.
        max_categories: a label config with more labels is refused.
        ray: the cluster on which engines like this one take the lessons; this process stores them, in order.

    Raises:
        UsageError: the engine does not learn, or --labels names no label.
        RequestError: some annotations were refused; each was reported.
        BackendError, ConverterError, OVDiffError: the label config or the export cannot be read, prototypes cannot be
            made, or a model cannot be loaded.
    """
    if not isinstance(engine, Learns):
        raise cannot(engine, "takes no lessons from annotations", _TRAINING)
    vocabularies = _vocabularies(config_text, max_categories, choices)
    counts, found = _Counts(), []
    for record in read_export(export, config, wanted=Wanted(predictions="none")):
        counts.tasks += 1
        found += [(record, made) for made in _annotations(record, choices, counts, vocabularies)]
    if found:
        words = dict.fromkeys(each for vocabulary in vocabularies.values() for each in vocabulary.categories)
        build_missing(tuple(words), engine, ray=ray)
        say_missing_anchors(engine)
    scope = Scope(kinds_of(config), choices.labels, choices.partial, skipped_labels(config))
    taking = Taking(engine, vocabularies, read_image, scope, choices.every_annotator)
    try:
        with progress_bar(len(found), "image") as bar, _drafted(found, taking, engine, ray) as drafts:
            for (record, made), draft in drafts:
                bar.set_description(f"task {record.task_id}")
                try:
                    counts.note(taking.take(record, made, draft))
                except REFUSALS as error:
                    counts.refuse(record.task_id, made.id, str(error))
                bar.update()
    finally:
        _report(counts)
    if counts.refusals:
        which = "annotations" if choices.every_annotator else f"of {counts.tasks} images"
        raise RequestError(f"{len(counts.refusals)} {which} gave no lesson; they are named above.")


_Found = tuple[records.ImageRecord, records.Annotation]


@contextmanager
def _drafted(
    found: Sequence[_Found], taking: Taking, engine: SegmentationEngine, ray: OnRay | None
) -> Iterator[Iterator[tuple[_Found, Lesson | None]]]:
    """Yield each annotation with its lesson, if engines of a cluster took it; in the order of the export."""
    if ray is None or not found:
        yield ((each, None) for each in found)
        return
    drafting = Drafting(taking.vocabularies, taking.read_image, taking.scope)
    with ray.segmenters(engine) as pool:
        yield in_order(partial(pool.submit, drafting), found, pool.workers * AHEAD)


def images_in(images: ImagesBelow) -> ReadImage:
    """Return a reader of images from a folder, not from where the tasks say."""

    def read(record: records.ImageRecord) -> NDArray[np.uint8]:
        content = images.fetch(record.image)
        try:
            return decode_image(content, max_px=images.limits.image_max_px)
        except ImageSourceError as error:
            raise ImageSourceError(f"{record.image}: {error}") from error

    return read


def images_from(label_studio: LabelStudioSettings, limits: ImageSettings) -> ReadImage:
    """Return a reader that fetches images from where the service fetches them; it can be pickled."""

    def read(record: records.ImageRecord) -> NDArray[np.uint8]:
        task_id = record.task_id if isinstance(record.task_id, int) else None
        try:
            with _source(label_studio, limits).opened(record.image, task_id=task_id) as image:
                return image
        except ImageSourceError as error:
            raise ImageSourceError(f"{error} Name the folder of the images with --images.") from error

    return read


@lru_cache(maxsize=1)
def _source(label_studio: LabelStudioSettings, limits: ImageSettings) -> ImageSource:
    return ImageSource(Fetcher(LabelStudioClient(label_studio), limits))


def _vocabularies(config_text: str, max_categories: int, choices: Choices) -> dict[str, Vocabulary]:
    """Return the vocabulary of each image tag, as the service segments with it."""
    labelling = read_labelling(config_text, max_categories=max_categories)
    found = vocabularies_of(labelling)
    known = {name for vocabulary in found.values() for name in vocabulary.names}
    if unknown := [name for name in choices.labels or () if name not in known]:
        raise UsageError(f"--labels has {unknown[0]!r}, which is not in the label config: {', '.join(sorted(known))}.")
    return found


def _annotations(
    record: records.ImageRecord, choices: Choices, counts: _Counts, vocabularies: dict[str, Vocabulary]
) -> Iterator[records.Annotation]:
    """Yield the annotations of an image that are learned from, and count the images without any."""
    made = [annotation for annotation in record.annotations if not annotation.skipped]
    preferred = record.preferred_annotation()
    if not record.image:
        counts.refuse(record.task_id, None, why_without_image(record))
    elif record.image_tag not in vocabularies:
        counts.passed["of an image that the label config has no labels for"] += 1
    elif preferred is None:
        counts.passed["skipped by the annotator" if record.annotations else "not annotated"] += 1
    elif choices.every_annotator:
        yield from made
    else:
        yield preferred
        counts.passed["annotations that another one of their image is preferred to"] += len(made) - 1


def _report(counts: _Counts) -> None:
    """Print how many images went in, and what became of them."""
    outcome = f"{counts.taken} lessons taken, {counts.there} already there, {len(counts.refusals)} refused"
    answer(
        {
            "images": counts.tasks,
            "lessons_taken": counts.taken,
            "already_there": counts.there,
            "lessons_replaced": counts.replaced,
            "contested_px": counts.contested_px,
            "passed_over": {reason: times for reason, times in counts.passed.items() if times},
            "refused": counts.refusals,
        }
    )
    say(f"images: {counts.tasks} in, {outcome}")
    if counts.replaced:
        say(f"lessons of older annotations removed: {counts.replaced}")
    for reason, times in counts.passed.items():
        if times:
            say(f"{reason}: {times}")
    if counts.contested_px:
        say(f"pixels that several labels claimed: {counts.contested_px}; the order is {RULE}")
    if counts.taken:
        say("now: ovdiff lessons list")


def labels_of(text: str | None) -> tuple[str, ...] | None:
    """Return the labels of "boat, water"; ``None`` where none are given.

    Raises:
        UsageError: the text names no label.
    """
    if text is None:
        return None
    labels = tuple(part.strip() for part in text.split(",") if part.strip())
    if not labels:
        raise UsageError("--labels names no label. Leave it away if all labels were annotated.")
    return labels
