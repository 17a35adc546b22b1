"""The command `ovdiff diff-predictions`: arguments only.

Tested by tests/backend/command/test_diff_predictions.py.
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
    bank_folder,
    image_path,
)
from backend.settings import Settings

_CHANGE = (
    "may be repeated: categories=LIST, add=LIST, remove=LIST (of the categories), preset=NAME_OR_FILE, bank=FOLDER"
)


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    diff = commands.add_parser(
        "diff-predictions",
        help="say what a change of vocabulary, preset or bank does to the masks of images",
        description="Segment images twice, as they are and after a change, and say which images change, by how many "
        "pixels, and what became what. Nothing is stored but the encodings of the images, which are made once for both "
        "sides and kept for a later comparison. Prototypes that the bank lacks are made first.",
    )
    diff.add_argument("images", type=image_path, nargs="+", metavar="IMAGE", help=IMAGES_HELP)
    diff.add_argument("--categories", metavar=CATEGORIES_FORM, help=f"of both sides: {CATEGORIES_HELP}")
    diff.add_argument(
        "--before", action="append", default=[], metavar="CHANGE", help=f"how the first side differs; {_CHANGE}"
    )
    diff.add_argument(
        "--after", action="append", default=[], metavar="CHANGE", help=f"how the second side differs; {_CHANGE}"
    )
    diff.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="write a picture of the six images that change most"
    )
    add_engine_options(diff)
    diff.set_defaults(act=_diff)


def _diff(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.diff_predictions import Given, diff_predictions, make_sides, with_changes
    from backend.command.files import check_png_path
    from backend.command.plan import plan_report
    from backend.command.prototypes import read_categories

    check_png_path("--picture", options.picture)
    words = None if options.categories is None else read_categories(options.categories)
    shared = Given(words, options.preset or settings.preset, bank_folder(options, settings))
    patience_s = settings.storage_patience_s
    before, after = (with_changes(shared, changes, patience_s) for changes in (options.before, options.after))
    plan = plan_report(options.images)
    sides = make_sides(before, after, options.device or settings.device)
    diff_predictions(plan, *sides, max_px=settings.images.image_max_px, picture=options.picture)
