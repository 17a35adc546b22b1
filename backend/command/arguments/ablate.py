"""The command `ovdiff ablate`: arguments only.

Tested by tests/backend/command/test_ablate.py.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from backend.command.arguments.ray import add_ray_options, ray_of
from backend.command.arguments.shared import Commands, add_engine_options, bank_folder, whole_number
from backend.errors import UsageError
from backend.settings import Settings


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    ablate = commands.add_parser(
        "ablate",
        help="say what each part of a preset is worth on a labelled dataset",
        description="Evaluate a preset with each part off in turn, and with other extractors, prototypes, numbers of "
        "images, proposals and windows, each with several seeds, and lay the rows side by side, with the published "
        "figures beside them. What rows share is computed once. The cost is said first; a run that was interrupted "
        "goes on where it was.",
    )
    ablate.add_argument("dataset", nargs="?", metavar="DATASET", help="a dataset's name; `ovdiff evaluate --list`")
    ablate.add_argument("--list", action="store_true", help="list the rows and their families")
    ablate.add_argument("--root", type=Path, metavar="FOLDER", help="the folder into which the dataset was unpacked")
    ablate.add_argument(
        "--out", type=Path, metavar="FOLDER", help="the folder of the table (default: ablations/DATASET-PRESET)"
    )
    ablate.add_argument(
        "--rows",
        nargs="+",
        default=[],
        metavar="NAME",
        help="rows or families of them; what they are compared with is added (default: all usual ones)",
    )
    ablate.add_argument(
        "--seeds",
        type=whole_number,
        nargs="+",
        default=[42, 43, 44],
        metavar="N",
        help="the seeds of the support images (default: 42 43 44)",
    )
    ablate.add_argument("--limit", type=whole_number, metavar="N", help="the first N images alone (default: all)")
    ablate.add_argument(
        "--plan", action="store_true", help="say what there is to compute and how long it takes, and stop"
    )
    ablate.add_argument(
        "--workers",
        type=whole_number,
        metavar="N",
        help="processes that evaluate images, each with models of its own and one thread; prototypes are made in this "
        "one (default: this one); with --ray, engines on the cluster, which make prototypes too (default: as many as "
        "it has room for)",
    )
    add_ray_options(ablate, workers=False)
    add_engine_options(ablate)
    ablate.set_defaults(act=_ablate)


def _ablate(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.ablate import AblationPlan, list_rows, run_plan
    from backend.command.evaluate import open_named
    from ovdiff.engines import load_any_preset
    from ovdiff.evaluation.catalogue import dataset_kind

    if options.list:
        list_rows()
        return
    if options.dataset is None:
        raise UsageError("Ablate on what? Name a dataset; `ovdiff evaluate --list` names them.")
    dataset_kind(options.dataset)  # a wrong name is refused before anything loads
    preset = load_any_preset(options.preset or settings.preset)
    plan = AblationPlan(
        open=partial(open_named, options.dataset, options.root),
        preset=preset,
        bank=bank_folder(options, settings),
        device=options.device or settings.device,
        out=options.out or Path("ablations", f"{options.dataset}-{preset.name}"),
        rows=tuple(options.rows),
        seeds=tuple(options.seeds),
        limit=options.limit,
        plan=options.plan,
        workers=options.workers or 1,
    )
    with ray_of(options, settings) as ray:
        run_plan(plan, ray)
