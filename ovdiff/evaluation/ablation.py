"""The run of an ablation: every row on every image, resumable, with what rows share computed once (`shared_work`).

Every row with its seed has a folder like that of `ovdiff evaluate`, so their results can be laid side by side.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from ovdiff.engines import HasEncodings, Learns, SegmentationEngine
from ovdiff.errors import SupportError, VocabularyError, WeightsError
from ovdiff.evaluation.dataset import Dataset
from ovdiff.evaluation.figures import ImageFigures
from ovdiff.evaluation.records import Records, read_records
from ovdiff.evaluation.result import result_of
from ovdiff.evaluation.rows import LeftOut
from ovdiff.evaluation.run import (
    IMAGE_ERRORS,
    Clock,
    EncodedScene,
    Failure,
    Protocol,
    evaluate_encoded,
    run_identity,
)
from ovdiff.evaluation.shared_work import Engines, Group, Job, Report, own_part, share_support, words_of
from ovdiff.evaluation.sums import totals_of

CATEGORY_ERRORS = (SupportError, VocabularyError)
"""Errors by which a row cannot be built, and which say nothing about the others."""


@dataclass(frozen=True)
class Ablation:
    """What is ablated.

    Attributes:
        jobs: the rows with their seeds.
        groups: the same jobs, by the encodings that they share.
        dataset: on what.
        images: which images of it.
        engines: makes the engines.
        device: the device's name.
        protocol: what is asked besides the whole vocabulary.
    """

    jobs: tuple[Job, ...]
    groups: tuple[Group, ...]
    dataset: Dataset
    images: tuple[str, ...]
    engines: Engines
    device: str = "cpu"
    protocol: Protocol = field(default_factory=Protocol)


@dataclass
class Done:
    """What became of a run.

    Attributes:
        not_built: the jobs whose prototypes could not be made, and why.
        failed: the images that could not be evaluated, by the job.
    """

    not_built: dict[Job, str] = field(default_factory=dict)
    failed: dict[Job, list[Failure]] = field(default_factory=dict)


def possible_jobs(
    jobs: Sequence[Job], engines: Engines, dataset: Dataset
) -> tuple[tuple[Job, ...], tuple[LeftOut, ...]]:
    """Return the jobs that this bank and these weights can have, and the rows that they cannot, with the reason.

    Raises:
        OVDiffError: the preset itself cannot be had, because weights are missing.
    """
    left_out: dict[str, str] = {}
    category = dataset.vocabulary.categories[0]
    engines.first.category_key(category)
    for job in jobs:
        engine = engines.of(job.preset)
        if job.row.name == "no-lessons" and not _has_lessons(engines.first, dataset):
            left_out[job.row.name] = "the bank has no lessons about these words"
            continue
        try:
            engine.category_key(category)
        except WeightsError as error:
            left_out[job.row.name] = str(error)
    kept = tuple(job for job in jobs if job.row.name not in left_out)
    return kept, tuple(LeftOut(name, why) for name, why in left_out.items())


def run_ablation(ablation: Ablation, report: Report) -> Done:
    """Make prototypes, and evaluate every image by every row; what is there is not done again. Results are written.

    Args:
        ablation: what is ablated.
        report: is told what is done, and how many labellings that was.

    Raises:
        OVDiffError: weights are missing, or a folder cannot be written.
    """
    done = Done()
    for job in sorted(ablation.jobs, key=_most_images_first):
        report(f"prototypes of {job.name}", 0)
        why = _build(ablation, job)
        if why:
            done.not_built[job] = why
    for group in ablation.groups:
        _evaluate_group(ablation, group, done, report)
    for job in ablation.jobs:
        if job not in done.not_built:
            _write_result(ablation, job, done)
    return done


def _build(ablation: Ablation, job: Job) -> str:
    """Make what prototypes a job lacks; return why it cannot be done, or ""."""
    engine, bank = ablation.engines.of(job.preset), ablation.engines.bank
    others = [each.preset for each in ablation.jobs]
    for category in words_of(engine, ablation.dataset.vocabulary):
        try:
            if not engine.has(category):
                share_support(job.preset, others, category, bank)
                engine.build(category)
        except CATEGORY_ERRORS as error:
            return f"{category.name}: {error}"
    return ""


def _evaluate_group(ablation: Ablation, group: Group, done: Done, report: Report) -> None:
    jobs = [job for job in group.jobs if job not in done.not_built]
    if not jobs:
        return
    encoder = None if group.encoder is None else ablation.engines.of(group.encoder)
    engines = {job: ablation.engines.of(job.preset) for job in jobs}
    numbers = {image: number for number, image in enumerate(ablation.dataset.images)}
    with ExitStack() as stack:
        records = {}
        for job in jobs:
            identity = run_identity(engines[job], ablation.dataset, ablation.protocol)
            records[job] = stack.enter_context(Records(job.folder, identity))
        for image in ablation.images:
            missing = [job for job in jobs if image not in records[job]]
            if not missing:
                continue
            for job, found in _judged(ablation, encoder, engines, missing, image, numbers[image]):
                if isinstance(found, Failure):
                    done.failed.setdefault(job, []).append(found)
                else:
                    records[job].add(found)
                report(f"{image[-30:]}, {job.name}", 1)


def _judged(
    ablation: Ablation,
    encoder: SegmentationEngine | None,
    engines: Mapping[Job, SegmentationEngine],
    jobs: Sequence[Job],
    image: str,
    number: int,
) -> Iterator[tuple[Job, Failure | ImageFigures]]:
    """Yield the figures of an image by each job, or why there are none; it is read and encoded once."""
    clock = Clock()
    try:
        labelled = ablation.dataset.read(image)
        clock.note("read")
        encoded = encoder.encode(labelled.image) if isinstance(encoder, HasEncodings) else None
        clock.note("encode")
    except IMAGE_ERRORS as error:
        yield from ((job, Failure(image, str(error))) for job in jobs)
        return
    for job in jobs:
        own = None if encoder is None else own_part(encoded, job.preset)
        scene = EncodedScene(image, number, labelled, own)
        try:
            yield job, evaluate_encoded(engines[job], ablation.dataset, scene, ablation.protocol, clock.again())
        except IMAGE_ERRORS as error:
            yield job, Failure(image, str(error))


def _write_result(ablation: Ablation, job: Job, done: Done) -> None:
    engine, dataset = ablation.engines.of(job.preset), ablation.dataset
    figures = list(read_records(job.folder, ablation.images))
    totals = totals_of(figures, dataset.vocabulary.categories, counts_background=dataset.counts_background)
    result_of(
        engine,
        dataset,
        ablation.protocol,
        tuple(each.image for each in figures),
        tuple(done.failed.get(job, ())),
        totals,
        device=ablation.device,
        workers=1,
    ).write(job.folder)


def _most_images_first(job: Job) -> int:
    return -int(getattr(getattr(job.preset, "generation", None), "images", 0))


def _has_lessons(engine: SegmentationEngine, dataset: Dataset) -> bool:
    return isinstance(engine, Learns) and bool(engine.lessons_version(dataset.vocabulary))
