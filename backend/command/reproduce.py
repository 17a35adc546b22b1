"""`ovdiff reproduce`: a published figure by one command, or the stage at which the result departs from it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from backend.command.console import complain, say
from backend.command.evaluate import EvaluationPlan, Opened, open_evaluation, open_named, run_evaluation
from backend.command.files import write_png
from backend.command.support_sheet import draw_support_sheet, shown_images
from backend.errors import RequestError, UsageError
from converters.console import answer, answering, is_json
from converters.files.atomic import write_whole
from converters.report.text import counted
from ovdiff.engines import EnginePreset, SegmentationEngine, load_any_preset
from ovdiff.engines.building import HasSupportSets
from ovdiff.errors import BankError, DatasetError
from ovdiff.evaluation.dataset import Dataset, DatasetKind
from ovdiff.evaluation.reproduction import (
    Comparison,
    Stage,
    compare_with_published,
    published_of,
    stages_of,
    weakest,
)
from ovdiff.evaluation.result import Result
from ovdiff.models.files import BUILDING, SEGMENTING, files_of
from ovdiff.models.licences import weights_licences
from ovdiff.presets.preset import preset_to_mapping

REPORT = "reproduction.json"
_SHEETS = 3
"""So many support sheets are written: those of the categories with the lowest IoU."""


@dataclass(frozen=True)
class Reproduction:
    """What is reproduced.

    Attributes:
        kind: the dataset.
        preset: the preset's name or file.
        root: the folder of the dataset; ``None`` if it was not given.
        bank: the folder of the prototypes.
        device: the device's name.
        out: the folder of the result.
        limit: so many images at most; ``None`` takes all.
    """

    kind: DatasetKind
    preset: str
    root: Path | None
    bank: Path
    device: str
    out: Path
    limit: int | None = None


def run_reproduction(wanted: Reproduction) -> tuple[Comparison, ...]:
    """Say what is missing, or evaluate and compare with the published figures, stage by stage.

    Raises:
        RequestError: the dataset or weights are missing; it was said where they come from. Or images could not be
            evaluated.
        OVDiffError: the preset is wrong, or a model cannot be loaded.
    """
    preset = load_any_preset(wanted.preset)
    told = ", ".join(f"{each.measure} {each}" for each in published_of(wanted.kind.name, preset_to_mapping(preset)))
    say(f"published of {wanted.kind.title}: {told or 'nothing that is known here'}")
    _require_all(wanted)
    plan = _plan(wanted, preset)
    opened = open_evaluation(plan)
    result = _evaluated(plan, opened)
    dataset, engine = opened.dataset, opened.engine
    stages = stages_of(engine, dataset, wanted.kind, result)
    comparisons = compare_with_published(result, wanted.kind)
    _tell(wanted, comparisons, stages)
    sheets = _sheets(engine, dataset, weakest(result, _SHEETS), wanted.out)
    _write_report(wanted, comparisons, stages, sheets)
    return comparisons


def _sheets(engine: SegmentationEngine, dataset: Dataset, names: Sequence[str], out: Path) -> list[Path]:
    """Write the support sheets of categories, and return their paths; support images that are not kept have none."""
    if not isinstance(engine, HasSupportSets):
        return []
    sheets = []
    words = {each.name: each for each in dataset.vocabulary.categories}
    for name in names:
        try:
            support = engine.support_set(words[name])
        except BankError as error:
            say(f"no support sheet of {name!r}: {error}")
            continue
        path = out / f"{name.replace('/', '-')}.support.png"
        captions = [str(item.number) for item in shown_images(support)]
        write_png(draw_support_sheet(support, name, captions), path)
        say(f"support sheet: {path}")
        sheets.append(path)
    return sheets


def missing_parts(wanted: Reproduction) -> tuple[list[str], list[str]]:
    """Return what must be had before a figure can be reproduced: what, from where, how large, on what terms.

    Returns:
        What is missing of the dataset, and of the weights.
    """
    found, weights = [], []
    try:
        open_named(wanted.kind.name, wanted.root)
    except (UsageError, DatasetError) as error:
        found.append(f"the dataset: {error}")
    preset = load_any_preset(wanted.preset)
    terms = {each.model: f"{each.licence}, {each.note}" for each in weights_licences(preset)}
    for entry in files_of(preset, *BUILDING, *SEGMENTING):
        if entry.missing:
            weights.append(f"weights of {entry}; {terms.get(entry.models[0], 'licence unknown')}")
    return found, weights


def _require_all(wanted: Reproduction) -> None:
    dataset, weights = missing_parts(wanted)
    if not dataset and not weights:
        return
    for each in (*dataset, *weights):
        complain(each)
    ways = ["Get the dataset by hand, and give its folder with --root."] if dataset else []
    if weights:
        ways.append(f"`ovdiff presets fetch {wanted.preset}` fetches the weights, on the terms above.")
    raise RequestError(f"{_counted(dataset, weights)} missing, and nothing was fetched. {' '.join(ways)}")


def _counted(dataset: Sequence[str], weights: Sequence[str]) -> str:
    models = f"the weights of {counted(len(weights), 'model')}" if weights else ""
    if dataset and weights:
        return f"The dataset and {models} are"
    return "The dataset is" if dataset else f"{models[0].upper()}{models[1:]} are"


def _plan(wanted: Reproduction, preset: EnginePreset) -> EvaluationPlan:
    return EvaluationPlan(
        open=partial(open_named, wanted.kind.name, wanted.root),
        preset=preset,
        bank=wanted.bank,
        device=wanted.device,
        out=wanted.out,
        limit=wanted.limit,
    )


def _evaluated(plan: EvaluationPlan, opened: Opened) -> Result:
    if not is_json():
        return run_evaluation(plan, opened)
    with redirect_stdout(sys.stderr), answering(quiet=True):  # stdout is to hold one JSON value
        return run_evaluation(plan, opened)


def _tell(wanted: Reproduction, comparisons: Sequence[Comparison], stages: Sequence[Stage]) -> None:
    say("")
    say("\n".join(map(str, comparisons)) or "nothing was published of this dataset and engine, so nothing is compared")
    if wanted.limit is not None:
        say(f"{wanted.limit} images at most were asked for, so this is a trial and no reproduction")
    signs = {True: "departs", False: "as published", None: "cannot be compared"}
    for stage in stages:
        say(f"{stage.name}: {signs[stage.departs]}. {stage.finding}")


def _write_report(
    wanted: Reproduction, comparisons: Sequence[Comparison], stages: Sequence[Stage], sheets: Sequence[Path]
) -> None:
    report = {
        "dataset": wanted.kind.name,
        "preset": wanted.preset,
        "reproduced": bool(comparisons) and wanted.limit is None and all(each.is_reproduced for each in comparisons),
        "comparisons": [asdict(each) | {"points": each.points} for each in comparisons],
        "stages": [asdict(stage) for stage in stages],
        "sheets": [str(sheet) for sheet in sheets],
    }
    write_whole(wanted.out / REPORT, (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode())
    answer(report)
