"""The command `ovdiff evaluate`: arguments only.

Tested by tests/backend/command/test_evaluate.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from backend.command.arguments.ray import add_ray_options, ray_of
from backend.command.arguments.shared import Commands, add_engine_options, bank_folder, whole_number
from backend.errors import UsageError
from backend.settings import Settings

if TYPE_CHECKING:
    from ovdiff.engines import EnginePreset
    from ovdiff.evaluation.dataset import Dataset


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    evaluate = commands.add_parser(
        "evaluate",
        help="say how good a preset is on a labelled dataset",
        description="Evaluate a preset on a labelled dataset. The figures of each image are kept in the folder --out, "
        "so a run that was interrupted goes on where it was. Prototypes that the bank lacks are made first.",
    )
    evaluate.add_argument(
        "dataset",
        nargs="?",
        metavar="DATASET",
        help="a dataset's name, --list names them; or images of your own: a COCO or COCO panoptic file, a folder of "
        "label PNGs, or a Label Studio export with its --label-config",
    )
    evaluate.add_argument("--list", action="store_true", help="list the datasets, and where each one comes from")
    evaluate.add_argument(
        "--root",
        "--images",
        type=Path,
        metavar="FOLDER",
        help="the folder into which the dataset was unpacked; of images of your own, the folder of the images "
        "(default: where the file of labels is)",
    )
    evaluate.add_argument(
        "--label-config", type=Path, metavar="FILE", help="the label config of the Label Studio export (XML)"
    )
    evaluate.add_argument(
        "--labels",
        metavar="LIST",
        help="what the values of label PNGs of your own mean, if no labels.json is beside them: voc, ade20k, "
        "cityscapes, or a text file",
    )
    evaluate.add_argument(
        "--partial",
        action="store_true",
        help="all annotations of your own are partial: what has no label counts neither as right nor as wrong "
        "(default: those that say so)",
    )
    evaluate.add_argument(
        "--names",
        default="paper",
        metavar="LIST",
        help="the words that the categories are asked for by: paper (as the papers do), plain (the dataset's own names "
        "as they are), or a text file with a line of words for each category (default: paper)",
    )
    evaluate.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="the folder of the result (default: evaluations/DATASET-PRESET)",
    )
    evaluate.add_argument("--limit", type=whole_number, metavar="N", help="the first N images alone (default: all)")
    evaluate.add_argument(
        "--sizes",
        type=whole_number,
        nargs="+",
        default=[],
        metavar="N",
        help="ask for three random vocabularies of N words in each image besides, and say which absent words are "
        "painted (default: the whole vocabulary alone)",
    )
    evaluate.add_argument(
        "--workers",
        type=whole_number,
        metavar="N",
        help="processes, each with models of its own and one thread (default: this one); with --ray, engines on the "
        "cluster (default: as many as it has room for)",
    )
    evaluate.add_argument(
        "--upper-line",
        metavar="WHICH",
        help="evaluate SAM on boxes of the truth (sam) or on points of it (sam-points) in place of a preset: how good "
        "masks are if it is known what is where; or a .toml file with other weights",
    )
    add_ray_options(evaluate, workers=False)
    add_engine_options(evaluate)
    evaluate.set_defaults(act=_evaluate)


def _evaluate(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.evaluate import EvaluationPlan, list_datasets, run_evaluation
    from backend.command.own_dataset import opened_with_names
    from ovdiff.engines import load_any_preset
    from ovdiff.evaluation.run import Protocol
    from ovdiff.evaluation.upper_line import load_upper_line

    if options.list:
        list_datasets()
        return
    if options.dataset is None:
        raise UsageError("Evaluate on what? Name a dataset; `ovdiff evaluate --list` names them.")
    opened = _opens(options, settings)  # a wrong name is refused before anything loads
    if options.upper_line and options.preset:
        raise UsageError("--upper-line stands in the place of a preset. Give one of the two.")
    preset: EnginePreset = (
        load_upper_line(options.upper_line)
        if options.upper_line
        else load_any_preset(options.preset or settings.preset)
    )
    plan = EvaluationPlan(
        open=partial(opened_with_names, opened, options.names),
        preset=preset,
        bank=bank_folder(options, settings),
        device=options.device or settings.device,
        out=options.out or Path("evaluations", f"{Path(options.dataset).stem}-{preset.name}"),
        protocol=Protocol(tuple(options.sizes)),
        limit=options.limit,
        workers=options.workers or 1,
    )
    with ray_of(options, settings) as ray:
        run_evaluation(plan, ray=ray)


def _opens(options: argparse.Namespace, settings: Settings) -> Callable[[], Dataset]:
    """Return what opens the dataset: one that is known by its name, else a path of the person's own."""
    from backend.command.evaluate import open_named
    from backend.command.own_dataset import OwnDataset
    from ovdiff.evaluation.catalogue import dataset_kind, dataset_names

    path = Path(options.dataset)
    if options.dataset not in dataset_names() and path.exists():
        limit = settings.prediction.max_categories
        return OwnDataset(path, options.root, options.label_config, options.labels, limit, options.partial)
    dataset_kind(options.dataset)
    return partial(open_named, options.dataset, options.root)
