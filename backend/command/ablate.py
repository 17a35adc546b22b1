"""`ovdiff ablate`: what each part of a preset is worth on a labelled dataset, beside the published figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from backend.command.console import complain, notice, progress_bar, say
from backend.command.evaluate import preset_for
from backend.command.table import table
from backend.errors import RequestError
from backend.logs import without_word_notices
from converters.console import answer
from converters.files.atomic import write_whole
from ovdiff.bank import Bank
from ovdiff.distributed.engine_worker import spec_of
from ovdiff.engines import EnginePreset, make_engine
from ovdiff.evaluation.ablation import Ablation, Done, Elsewhere, possible_jobs, run_ablation
from ovdiff.evaluation.ablation_cost import Cost, Timed, cost_of, time_items
from ovdiff.evaluation.ablation_table import AblationTable, make_table, markdown
from ovdiff.evaluation.dataset import Dataset
from ovdiff.evaluation.rows import ROWS, SEEDS, LeftOut, Variant, variants
from ovdiff.evaluation.run import Protocol
from ovdiff.evaluation.shared_work import Engines, groups_of, jobs_of

if TYPE_CHECKING:
    from backend.command.on_ray import OnRay

JSON, MARKDOWN = "ablation.json", "ablation.md"


@dataclass(frozen=True)
class AblationPlan:
    """What is ablated.

    Attributes:
        open: opens the dataset.
        preset: the preset.
        bank: the folder of the prototypes.
        device: the device's name.
        out: the folder of the table, and of the rows' results.
        rows: names of rows and families; () takes all that are usual.
        seeds: seeds of the support images.
        limit: so many images at most; ``None`` takes all.
        plan: whether to say the cost and stop.
        protocol: what is asked besides the whole vocabulary.
        workers: how many processes evaluate images.
    """

    open: Callable[[], Dataset]
    preset: EnginePreset
    bank: Path
    device: str
    out: Path
    rows: tuple[str, ...] = ()
    seeds: tuple[int, ...] = SEEDS
    limit: int | None = None
    plan: bool = False
    protocol: Protocol = field(default_factory=Protocol)
    workers: int = 1


@without_word_notices()
def run_plan(plan: AblationPlan, ray: OnRay | None = None) -> AblationTable | None:
    """Say what an ablation costs; unless that is all, run it, write its table, and print it.

    Args:
        plan: what is ablated.
        ray: the cluster on which engines like the plan's make prototypes and evaluate; this process writes.

    Returns:
        The table; ``None`` if only the cost was asked for.

    Raises:
        RequestError: a row could not be measured, or not on every image; each was reported, and the table is written.
        OVDiffError: the dataset cannot be read, weights are missing, or there is no such row.
    """
    dataset = plan.open()
    found, left_out = variants(plan.preset, plan.rows, background=dataset.counts_background)
    first = make_engine(preset_for(plan.preset, dataset), Bank(plan.bank), plan.device)
    engines = Engines(first, Bank(plan.bank), plan.device)
    jobs, impossible = possible_jobs(jobs_of(found, plan.seeds, plan.out), engines, dataset)
    left_out = (*left_out, *impossible)
    images = dataset.images if plan.limit is None else dataset.images[: plan.limit]
    ablation = Ablation(
        jobs,
        groups_of(jobs, engines),
        dataset,
        images,
        engines,
        plan.device,
        plan.protocol,
        plan.workers,
        plan.open,
    )
    cost = cost_of(ablation)
    say(_cost_text(ablation, cost, found))
    for each in left_out:
        say(f"left out: {each.name}, because {each.why}")
    if plan.plan:
        timed = time_items(ablation)
        say(_time_text(cost, timed))
        answer({"cost": asdict(cost), "timed": asdict(timed), "seconds": cost.seconds(timed), **_rows(found, left_out)})
        return None
    done = _run(ablation if ray is None else _on_cluster(ablation, ray), cost)
    failed = tuple(LeftOut(job.row.name, f"it could not be built: {why}") for job, why in done.not_built.items())
    made = make_table(dataset.name, plan.preset.name, found, jobs, (*left_out, *failed))
    _write(made, plan.out)
    say(markdown(made))
    say(f"table: {plan.out / MARKDOWN}, and a folder of each row and seed in {plan.out / 'rows'}")
    answer(made.to_json())
    _complain_of(done)
    return made


def list_rows() -> None:
    """Print the rows and their families."""
    rows = [["family", "row", "what it is"]]
    rows += [[row.family, row.name, row.title + (", on request" if row.on_request else "")] for row in ROWS.values()]
    say(table(rows))
    answer([{"name": row.name, "family": row.family, "title": row.title} for row in ROWS.values()])


def _on_cluster(ablation: Ablation, ray: OnRay) -> Ablation:
    first = ablation.engines.first
    placement, open_pool = ray.opener(first)
    spec = spec_of(first, ray.bank, ablation.device)
    elsewhere = Elsewhere(spec, ray.built, open_pool, placement.threads)
    return replace(ablation, workers=placement.workers, elsewhere=elsewhere)


def _run(ablation: Ablation, cost: Cost) -> Done:
    with progress_bar(cost.sets + cost.labellings) as bar:

        def report(what: str, done: float) -> None:
            bar.set_description(what[-50:])
            bar.update(done)

        return run_ablation(ablation, report)


def _cost_text(ablation: Ablation, cost: Cost, found: Sequence[Variant]) -> str:
    same = sum(bool(each.same_as) for each in found)
    rows = len({job.row.name for job in ablation.jobs})
    return (
        f"{rows} rows, {len(ablation.jobs)} with their seeds, on {len(ablation.images)} images of "
        f"{ablation.dataset.name}; {same} more rows are the same as another\n"
        f"still to do: {cost.images} support images to draw, {cost.sets} prototype sets to make, "
        f"{cost.encodings} images to encode (once for each of {len(ablation.groups)} groups of rows), "
        f"{cost.labellings} labellings"
    )


def _time_text(cost: Cost, timed: Timed) -> str:
    parts = {
        "a support image": timed.draw_s,
        "a prototype set": timed.prototypes_s,
        "an encoding": timed.encode_s,
        "a labelling": timed.label_s,
    }
    told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in parts.items() if seconds is not None)
    seconds = cost.seconds(timed)
    whole = "not known before there are prototypes" if seconds is None else f"about {_duration(seconds)}"
    return f"timed on the first items: {told}; the whole: {whole}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _rows(found: Sequence[Variant], left_out: Sequence[LeftOut]) -> dict[str, object]:
    return {
        "rows": [{"name": each.row.name, "same_as": each.same_as} for each in found],
        "left_out": [asdict(each) for each in left_out],
    }


def _write(made: AblationTable, out: Path) -> None:
    text = json.dumps(made.to_json(), indent=1, ensure_ascii=False) + "\n"
    write_whole(out / JSON, text.encode())
    write_whole(out / MARKDOWN, markdown(made).encode())


def _complain_of(done: Done) -> None:
    for job, why in done.not_built.items():
        complain(f"{job.name}: {why}")
    for job, failures in done.failed.items():
        complain(f"{job.name}: {len(failures)} images, such as {failures[0].image}: {failures[0].why}")
    if done.not_built or done.failed:
        raise RequestError(
            f"{len(done.not_built) + len(done.failed)} rows are not measured, or not on every image. The table is of "
            "the others; run the command again to try these again."
        )
    notice("every row was measured on every image")
