"""The command `ovdiff novelties`: arguments only.

Tested by tests/backend/command/test_novelties.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from backend.command.arguments.shared import (
    CATEGORIES_FORM,
    CATEGORIES_HELP,
    IMAGES_HELP,
    Commands,
    add_engine_options,
    engine_of,
    image_path,
)
from backend.settings import Settings


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    novelties = commands.add_parser(
        "novelties",
        help="say what images show that is none of the words",
        description="Look for regions that show none of the words, and group those that look alike: candidates for "
        "labels, the largest group first, each with the word that it looks like to CLIP. Prototypes that the bank "
        "lacks are made first; the images are encoded once, and their encodings are kept for later.",
    )
    novelties.add_argument("images", type=image_path, nargs="+", metavar="IMAGE", help=IMAGES_HELP)
    novelties.add_argument("--categories", required=True, metavar=CATEGORIES_FORM, help=CATEGORIES_HELP)
    novelties.add_argument("--picture", type=Path, metavar="FILE.png", help="write a picture of crops of each group")
    add_engine_options(novelties)
    novelties.set_defaults(act=_find)


def _find(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.files import check_png_path
    from backend.command.novelties import find_novelties
    from backend.command.plan import plan_report
    from backend.command.prototypes import read_categories

    check_png_path("--picture", options.picture)
    vocabulary, plan = read_categories(options.categories), plan_report(options.images)
    engine, max_px = engine_of(options, settings), settings.images.image_max_px
    find_novelties(plan, vocabulary, engine, max_px=max_px, picture=options.picture)
