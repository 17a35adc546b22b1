"""`ovdiff evaluate`: how good a preset is on a labelled dataset, as one command that can be interrupted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from backend.command.console import complain, notice, progress_bar, say
from backend.command.evaluation.examples import Example, examples_of
from backend.command.evaluation.markdown import result_to_markdown
from backend.command.evaluation.page import result_to_html
from backend.command.evaluation.words import MEASURES, interval_of, scope_sentence, upper_line_sentence
from backend.command.files import require_writable
from backend.command.prototypes import build_missing
from backend.command.table import table
from backend.errors import RequestError, UsageError
from backend.logs import without_word_notices
from converters.console import answer
from converters.files.atomic import write_whole
from converters.metrics.intervals import Interval
from ovdiff.bank import Bank
from ovdiff.distributed.engine_worker import spec_of
from ovdiff.engines import EnginePreset, SegmentationEngine
from ovdiff.engines.contract import WithoutBackground
from ovdiff.evaluation.catalogue import dataset_kind, dataset_names
from ovdiff.evaluation.dataset import Dataset
from ovdiff.evaluation.published import published_beside
from ovdiff.evaluation.ranking import ranked_images
from ovdiff.evaluation.records import Records, require_no_other_run
from ovdiff.evaluation.result import Result, result_of
from ovdiff.evaluation.run import Failure, OpenPool, Protocol, Work, evaluate, run_identity
from ovdiff.evaluation.shared_work import words_of
from ovdiff.evaluation.sums import totals_of
from ovdiff.evaluation.upper_line import SeesTruth, make_evaluated

if TYPE_CHECKING:
    from backend.command.on_ray import OnRay

MARKDOWN, PAGE = "result.md", "report.html"
"""The files that are written beside the JSON file: tables for a repository, and a page with plots and pictures."""

_NAMED = 10
"""So many images that failed are named; the others are in the result."""


@dataclass(frozen=True)
class EvaluationPlan:
    """What is evaluated by what.

    Attributes:
        open: opens the dataset; picklable.
        preset: the preset.
        bank: the folder of the prototypes.
        device: the device's name.
        out: the folder of the result.
        protocol: what is asked besides the whole vocabulary.
        limit: so many images at most; ``None`` takes all.
        workers: how many processes.
        threads: how many threads of torch in each of several processes.
    """

    open: Callable[[], Dataset]
    preset: EnginePreset
    bank: Path
    device: str
    out: Path
    protocol: Protocol = field(default_factory=Protocol)
    limit: int | None = None
    workers: int = 1
    threads: int = 1


def open_named(name: str, root: Path | None) -> Dataset:
    """Open a dataset by its name.

    Raises:
        UsageError: it is read from a folder, and none was given.
        DatasetError: there is no such dataset, or the folder does not hold it.
    """
    kind = dataset_kind(name)
    if kind.needs_folder and root is None:
        raise UsageError(
            f"Where is {kind.title}? Give its folder with --root. It is usually obtained so: {kind.obtain}"
        )
    return kind.open(root or Path())


@dataclass(frozen=True)
class Opened:
    """The dataset of a plan, and the engine that is evaluated on it."""

    dataset: Dataset
    engine: SegmentationEngine


def open_evaluation(plan: EvaluationPlan) -> Opened:
    """Open the dataset of a plan and make its engine; no model loads.

    Raises:
        UsageError: the plan asks for what the dataset or the engine cannot do.
        OVDiffError: the dataset cannot be read.
    """
    dataset = plan.open()
    if plan.protocol.sizes and not dataset.counts_background:
        raise UsageError(
            f"--sizes asks for few words, and {dataset.name} has no background: every pixel would have to be one of "
            "them. Leave --sizes out."
        )
    engine = make_evaluated(preset_for(plan.preset, dataset), Bank(plan.bank), plan.device)
    if plan.protocol.sizes and isinstance(engine, SeesTruth):
        raise UsageError("--sizes asks which absent words are painted, and an upper line is told what is there.")
    return Opened(dataset, engine)


@without_word_notices()
def run_evaluation(plan: EvaluationPlan, opened: Opened | None = None, ray: OnRay | None = None) -> Result:
    """Evaluate, write the result, and print its table.

    The page and the Markdown file show the best, median and worst images, which are segmented once more. After Ctrl-C
    the result of what was evaluated is written without them.

    Args:
        plan: what is evaluated by what.
        opened: what :func:`open_evaluation` returned for the plan, if the caller has it already.
        ray: the cluster on which engines like the plan's evaluate.

    Raises:
        KeyboardInterrupt: somebody pressed Ctrl-C.
        UsageError: nothing can be written into the plan's folder.
        RequestError: some images could not be evaluated; each was reported, and the others' result is written.
        EvaluationError: the folder holds another evaluation, or cannot be used.
        OVDiffError: the dataset cannot be read, or prototypes cannot be made.
    """
    opened = opened or open_evaluation(plan)
    dataset, engine = opened.dataset, opened.engine
    _require_folder(plan, opened)
    build_missing(words_of(engine, dataset.vocabulary), engine, ray=ray)
    images = dataset.images if plan.limit is None else dataset.images[: plan.limit]
    work = Work(lambda: engine, lambda: dataset, plan.protocol)
    workers, open_pool = plan.workers, None
    make = partial(make_evaluated, engine.preset, Bank(plan.bank), plan.device)
    if ray is not None:
        placement, open_pool = ray.opener(engine)
        workers = placement.workers
        spec = replace(spec_of(engine, ray.bank, plan.device), maker=make_evaluated)
        work = Work(spec.make, plan.open, plan.protocol, placement.threads)
    elif workers > 1:
        work = Work(make, plan.open, plan.protocol, plan.threads)
    with Records(plan.out, run_identity(engine, dataset, plan.protocol)) as records:
        failed: list[Failure] = []
        interrupted = _evaluated(work, images, records, failed, workers, open_pool)
        totals = totals_of(
            records.figures(images),
            dataset.vocabulary.categories,
            counts_background=dataset.counts_background,
        )
        done = tuple(image for image in images if image in records)
        if interrupted is not None and not done:
            raise interrupted
        result = result_of(
            engine, dataset, plan.protocol, done, tuple(failed), totals, device=plan.device, workers=workers
        )
        ranked = ranked_images({} if interrupted else totals.image_mious)
        examples = tuple(examples_of(engine, dataset, ranked, totals.image_mious))
        _write(result, examples, plan.out)
    for note in dataset.notes:
        notice(note)
    say(result_text(result, plan.out))
    answer(result)
    if interrupted is not None:
        complain(f"interrupted; {scope_sentence(result)} The same command goes on.")
        raise interrupted
    _complain_of(failed, len(done))
    return result


def _require_folder(plan: EvaluationPlan, opened: Opened) -> None:
    """Refuse a folder that the result cannot go into, before prototypes are made for hours."""
    require_writable("--out", plan.out / MARKDOWN)
    known = run_identity(opened.engine, opened.dataset, plan.protocol)
    del known["engine"]  # its state changes as prototypes are made, for words may be anchors
    require_no_other_run(plan.out, known)


def _write(result: Result, examples: Sequence[Example], out: Path) -> None:
    result.write(out)
    write_whole(out / MARKDOWN, result_to_markdown(result, examples).encode())
    write_whole(out / PAGE, result_to_html(result, examples).encode())


def preset_for(preset: EnginePreset, dataset: Dataset) -> EnginePreset:
    """Return the preset as the dataset wants it: without background, if the dataset has none.

    Raises:
        UsageError: the dataset has no background, and the engine cannot do without.
    """
    if dataset.counts_background:
        return preset
    if not isinstance(preset, WithoutBackground):
        raise UsageError(
            f"{dataset.name} has no background, and the engine {preset.engine!r} cannot give every pixel a category."
        )
    return preset.without_background()


def _evaluated(
    work: Work,
    images: Sequence[str],
    records: Records,
    failed: list[Failure],
    workers: int,
    open_pool: OpenPool | None,
) -> KeyboardInterrupt | None:
    """Evaluate what is missing, and note what failed; return an interruption, so that all else is written first."""
    missing = sum(image not in records for image in images)
    with progress_bar(missing, "image") as bar:

        def report(image: str, failure: Failure | None) -> None:
            if failure is not None:
                failed.append(failure)
            bar.set_description(image[-40:])
            bar.update()

        try:
            evaluate(work, images, records, report, workers=workers, open_pool=open_pool)
        except KeyboardInterrupt as interrupted:
            return interrupted
    return None


def _complain_of(failed: Sequence[Failure], done: int) -> None:
    for each in failed[:_NAMED]:
        complain(f"{each.image}: {each.why.removeprefix(f'{each.image}: ')}")
    if failed:
        figures = "the figures are of the others" if done else "there are no others, and so no figures"
        raise RequestError(
            f"{len(failed)} images could not be evaluated; {figures}. Mend them and run the command again: it "
            "evaluates what is missing."
        )


def result_text(result: Result, out: Path) -> str:
    """Return the result as text: the figures of the dataset, and a table of the categories."""
    measures = result.measures
    miou = f"{_share(measures['miou'])}{_spread(interval_of(result, 'miou'))}"
    lines = [f"mIoU {miou}, {len(result.images)} images of {result.dataset['name']}"]
    lines += [said] if (said := upper_line_sentence(result)) else []
    lines += published_lines(result)
    lines += [
        f"{name}: {_share(measures[key])}{_spread(interval_of(result, key))}"
        for key, name in MEASURES.items()
        if measures[key] is not None
    ]
    for size, words in measures["words"].items():
        asked = "all words" if size == "all" else f"{size} words"
        lines.append(
            f"asked for {asked}: {_share(words['present painted'])} of the present and "
            f"{_share(words['absent painted'])} of the absent painted"
        )
    rows = [["category", "IoU", "recall", "precision", "boundary IoU", "PQ", "AP"]]
    rows += [
        [row["name"], *(_share(row[key]) for key in ("iou", "accuracy", "precision", "boundary_iou", "pq", "ap"))]
        for row in result.figures["categories"]
    ]
    lines.append(table(rows, right=range(1, len(rows[0]))))
    lines.append(f"result: {out / PAGE}")
    return "\n".join(lines)


def published_lines(result: Result) -> list[str]:
    """Return what is published of this dataset and preset, in percent: a line for each measure that is."""
    told = {"miou": "mIoU", **MEASURES}
    texts = {name: published_beside(result, key) for key, name in told.items()}
    return [f"published {name}: {text}" for name, text in texts.items() if text]


def _spread(interval: Interval | None) -> str:
    return "" if interval is None else f" (95 %: {interval[0]:.3f} to {interval[1]:.3f})"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def list_datasets() -> None:
    """Print the datasets: classes, images, what they measure, and how each is usually obtained."""
    kinds = [dataset_kind(name) for name in dataset_names()]
    rows = [["dataset", "classes", "images", "measures", "what it is"]]
    for kind in kinds:
        classes = f"{len(kind.categories)}{' and background' if kind.counts_background else ''}"
        rows.append([kind.name, classes, str(kind.image_count or "any"), ", ".join(sorted(kind.measures)), kind.title])
    say(table(rows, right=(2,)))
    for kind in kinds:
        if kind.needs_folder:
            say(f"{kind.name}: {kind.obtain} Read from --root: {', '.join(kind.layout)}")
    told = ("name", "title", "counts_background", "layout", "obtain")
    answer(
        [
            {name: getattr(kind, name) for name in told}
            | {"classes": len(kind.categories), "images": kind.image_count, "measures": sorted(kind.measures)}
            for kind in kinds
        ]
    )
