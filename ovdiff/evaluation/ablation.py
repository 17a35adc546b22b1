"""The run of an ablation: every row on every image, resumable, with what rows share computed once (`shared_work`).

Every row with its seed has a folder like that of `ovdiff evaluate`, so their results can be laid side by side.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from converters.workers import in_order, ordered_map
from ovdiff.distributed.engine_worker import EngineSpec
from ovdiff.distributed.pool import AHEAD
from ovdiff.engines import SegmentationEngine, make_engine
from ovdiff.engines.learning import Learns
from ovdiff.errors import SupportError, VocabularyError, WeightsError
from ovdiff.evaluation.ablation_judge import (
    Found,
    GroupPresets,
    Item,
    Judge,
    JudgeElsewhere,
    judge_here,
    start_judge,
)
from ovdiff.evaluation.dataset import Dataset
from ovdiff.evaluation.figures import ImageFigures
from ovdiff.evaluation.records import Records, read_records
from ovdiff.evaluation.result import result_of
from ovdiff.evaluation.rows import LeftOut
from ovdiff.evaluation.run import Failure, OpenPool, Protocol, run_identity
from ovdiff.evaluation.shared_work import Engines, Group, Job, Report, share_support, words_of
from ovdiff.evaluation.sums import totals_of
from ovdiff.vocabulary import Category

CATEGORY_ERRORS = (SupportError, VocabularyError)
"""Errors by which a row cannot be built, and which say nothing about the others."""


Built = Callable[[SegmentationEngine, Sequence[Category]], Iterator[tuple[Category, float | Exception]]]
"""Builds categories as an engine would, and yields each with its seconds or with what ended it."""


@dataclass(frozen=True)
class Elsewhere:
    """Other machines that do the work.

    Attributes:
        spec: the engine of the preset as it is, as they make it.
        built: builds categories there.
        open_pool: opens a pool of the ablation's workers there.
        threads: how many threads torch uses in each.
    """

    spec: EngineSpec
    built: Built
    open_pool: OpenPool
    threads: int = 1


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
        workers: how many processes evaluate images; 1 is this one.
        open: opens the dataset in another process; picklable. Not needed in this one.
        elsewhere: the machines where prototypes are made and the workers are; by default prototypes are made in this
            process, and the workers are processes of this machine.
    """

    jobs: tuple[Job, ...]
    groups: tuple[Group, ...]
    dataset: Dataset
    images: tuple[str, ...]
    engines: Engines
    device: str = "cpu"
    protocol: Protocol = field(default_factory=Protocol)
    workers: int = 1
    open: Callable[[], Dataset] | None = None
    elsewhere: Elsewhere | None = None


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
    _evaluate(ablation, done, report)
    for job in ablation.jobs:
        if job not in done.not_built:
            _write_result(ablation, job, done)
    return done


def _build(ablation: Ablation, job: Job) -> str:
    """Make what prototypes a job lacks; return why it cannot be done, or ""."""
    engine, bank = ablation.engines.of(job.preset), ablation.engines.bank
    others, missing = [each.preset for each in ablation.jobs], []
    for category in words_of(engine, ablation.dataset.vocabulary):
        try:
            if not engine.has(category):
                share_support(job.preset, others, category, bank)
                missing.append(category)
        except CATEGORY_ERRORS as error:
            return f"{category.name}: {error}"
    built = _built_here if ablation.elsewhere is None else ablation.elsewhere.built
    for category, outcome in built(engine, missing):
        if isinstance(outcome, CATEGORY_ERRORS):
            return f"{category.name}: {outcome}"
        if isinstance(outcome, Exception):
            raise outcome
    return ""


def _built_here(
    engine: SegmentationEngine, categories: Sequence[Category]
) -> Iterator[tuple[Category, float | Exception]]:
    for category in categories:
        try:
            engine.build(category)
        except CATEGORY_ERRORS as error:
            yield category, error


def _evaluate(ablation: Ablation, done: Done, report: Report) -> None:
    """Evaluate every image by every job that could be built, and note what failed."""
    groups = [
        Group(group.encoder, jobs)
        for group in ablation.groups
        if (jobs := tuple(job for job in group.jobs if job not in done.not_built))
    ]
    with ExitStack() as stack:
        records = {
            job: stack.enter_context(Records(job.folder, run_identity(engine, ablation.dataset, ablation.protocol)))
            for group in groups
            for job in group.jobs
            for engine in [ablation.engines.of(job.preset)]
        }
        items = list(_missing(groups, ablation.images, records))
        for item, found in zip(items, _judged(ablation, groups, items), strict=True):
            for place, figures in zip(item.jobs, found, strict=True):
                job = groups[item.group].jobs[place]
                if isinstance(figures, ImageFigures):
                    records[job].add(figures)
                else:
                    done.failed.setdefault(job, []).append(Failure(item.image, figures))
                report(f"{item.image[-30:]}, {job.name}", 1)


def _missing(groups: Sequence[Group], images: Sequence[str], records: Mapping[Job, Records]) -> Iterator[Item]:
    """Yield what has no figures yet: of each group each image, with the jobs that lack it."""
    for number, group in enumerate(groups):
        for image in images:
            jobs = tuple(place for place, job in enumerate(group.jobs) if image not in records[job])
            if jobs:
                yield Item(number, image, jobs)


def _judged(ablation: Ablation, groups: Sequence[Group], items: Sequence[Item]) -> Iterator[Found]:
    """Yield what becomes of each item, in their order.

    Raises:
        WorkersError: a process ended, such as for want of memory; what was evaluated is kept.
        ClusterError: the other machines were lost; what was evaluated is kept.
    """
    presets = tuple(GroupPresets(group.encoder, tuple(job.preset for job in group.jobs)) for group in groups)
    engines, protocol, elsewhere = ablation.engines, ablation.protocol, ablation.elsewhere
    if ablation.open is None or len(items) < 2 or (ablation.workers == 1 and elsewhere is None):
        yield from map(Judge(engines, ablation.dataset, presets, protocol), items)
        return
    if elsewhere is None:
        make = partial(make_engine, engines.first.preset, engines.bank, ablation.device)
        judge = JudgeElsewhere(make, engines.bank, ablation.device, ablation.open, presets, protocol)
        yield from ordered_map(judge, items, ablation.workers)
        return
    spec = elsewhere.spec
    judge = JudgeElsewhere(spec.make, spec.bank, spec.device, ablation.open, presets, protocol, elsewhere.threads)
    pool = elsewhere.open_pool(start_judge, (judge,))
    try:
        for _, found in in_order(lambda item: pool.submit(judge_here, item), items, ablation.workers * AHEAD):
            yield found
    finally:
        pool.shutdown(cancel_futures=True)


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
        workers=ablation.workers,
    ).write(job.folder)


def _most_images_first(job: Job) -> int:
    return -int(getattr(getattr(job.preset, "generation", None), "images", 0))


def _has_lessons(engine: SegmentationEngine, dataset: Dataset) -> bool:
    return isinstance(engine, Learns) and bool(engine.lessons_version(dataset.vocabulary))
