"""The command `ovdiff plan`: arguments only.

Tested by tests/backend/command/test_scale_plan.py.
"""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from backend.command.arguments.shared import Commands
from backend.settings import Settings


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    plan = commands.add_parser(
        "plan",
        help="say what many images cost: hours, GPU-hours, bytes, memory, and what the run waits for",
        description="Tell from measured stages, by a closed formula, what a run on many machines costs. Nothing runs, "
        "nothing is fetched. Figures that were not measured on the device are marked with ~. docs/scale.md tells how "
        "they come about.",
    )
    plan.add_argument("--images", type=_how_many, required=True, metavar="N", help="how many images, such as 1e6")
    plan.add_argument(
        "--categories", type=_how_many, default=20, metavar="N", help="how many words are asked for (default: 20)"
    )
    plan.add_argument("--preset", metavar="NAME", help="a preset that comes with ovdiff (or OVDIFF_PRESET)")
    plan.add_argument(
        "--gpus",
        type=_devices,
        metavar="8xH100",
        help="how many devices of which kind; 4xCPU is four processes of one thread (default: "
        "1xH100, or 1xCPU for the embedded models)",
    )
    plan.add_argument(
        "--measured",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="JSON files of seconds that were measured on your machines, such as those that `make gpu` writes",
    )
    plan.add_argument(
        "--keep-features",
        action="store_true",
        help="count that the encodings of all images are stored, for later edits of the vocabulary",
    )
    plan.add_argument(
        "--assume",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="another value of what is supposed of cluster, storage and images, such as network_gbit=100; "
        "--assumptions lists them",
    )
    plan.add_argument("--assumptions", action="store_true", help="list what is supposed, too, with unit and reason")
    plan.set_defaults(act=_plan)


def _plan(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.scale_plan import tell_plan
    from ovdiff.planning import Asked, assume, measurements, usual_device

    measured, preset = measurements(options.measured), options.preset or settings.preset
    count, device = options.gpus or (1, usual_device(preset, measured))
    asked = Asked(
        images=options.images,
        categories=options.categories,
        preset=preset,
        device=device,
        count=count,
        assumed=assume(options.assume),
        keep_features=options.keep_features,
    )
    tell_plan(asked, measured, assumptions=options.assumptions)


def _how_many(text: str) -> int:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not number.is_integer():  # a plan says which numbers are too large
        raise argparse.ArgumentTypeError(f"expected a whole number such as 1000 or 1e6, got {text!r:.60}")
    return int(number)


def _devices(text: str) -> tuple[int, str]:
    read = re.fullmatch(r"([1-9][0-9]{0,6})x([A-Za-z][A-Za-z0-9]*)", text, re.ASCII)
    if read is None:
        raise argparse.ArgumentTypeError(f"expected a number and a device, such as 8xH100, got {text!r:.60}")
    return int(read[1]), read[2].upper()
