"""The command `ovdiff compare-evaluations`: arguments only.

Tested by tests/backend/command/test_compare_evaluations.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from backend.command.arguments.shared import Commands
from backend.settings import Settings


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    compare = commands.add_parser(
        "compare-evaluations",
        help="lay evaluations of one dataset side by side",
        description="Lay evaluations of one dataset side by side, on the images that all of them have: every figure, "
        "the difference in each category, and which differences are more than chance (paired bootstrap over images). "
        "No model is loaded.",
    )
    compare.add_argument(
        "folders",
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help="the folders of two or more evaluations; the first is what the others are held against",
    )
    compare.add_argument("--out", type=Path, metavar="FILE", help="write the comparison too, as .html or .md")
    compare.set_defaults(act=_compare)


def _compare(options: argparse.Namespace, _settings: Settings) -> None:
    from backend.command.compare_evaluations import run_comparison

    run_comparison(options.folders, options.out)
