"""The command `ovdiff reproduce`: arguments only.

Tested by tests/backend/command/test_reproduce.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from backend.command.arguments.shared import Commands, add_engine_options, bank_folder, whole_number
from backend.settings import Settings


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    reproduce = commands.add_parser(
        "reproduce",
        help="get a published figure, or say at which stage the result departs from it",
        description="Say what is missing, from where, how large and on what terms; nothing is fetched. If all is here, "
        "evaluate the preset on the dataset, and compare the result with the published figures: reproduced within so "
        "many points, or where it departs, stage by stage. An interrupted run goes on where it was.",
    )
    reproduce.add_argument("dataset", metavar="DATASET", help="a dataset's name; `ovdiff evaluate --list`")
    reproduce.add_argument("--root", type=Path, metavar="FOLDER", help="the folder into which the dataset was unpacked")
    reproduce.add_argument(
        "--out", type=Path, metavar="FOLDER", help="the folder of the result (default: reproductions/DATASET-PRESET)"
    )
    reproduce.add_argument("--limit", type=whole_number, metavar="N", help="the first N images alone, as a trial")
    add_engine_options(reproduce)
    reproduce.set_defaults(act=_reproduce)


def _reproduce(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.reproduce import Reproduction, run_reproduction
    from ovdiff.evaluation.catalogue import dataset_kind

    kind = dataset_kind(options.dataset)
    preset = options.preset or "paper"
    run_reproduction(
        Reproduction(
            kind=kind,
            preset=preset,
            root=options.root,
            bank=bank_folder(options, settings),
            device=options.device or settings.device,
            out=options.out or Path("reproductions", f"{kind.name}-{Path(preset).stem}"),
            limit=options.limit,
        )
    )
