"""The command `ovdiff next-tasks`: arguments only.

Tested by tests/backend/command/test_next_tasks.py.
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
    whole_number,
)
from backend.settings import Settings

_LIMIT = 20


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    tasks = commands.add_parser(
        "next-tasks",
        help="say which images to annotate next, so that lessons learn most",
        description="Order images by what a correction of each would teach: images with words that nobody has "
        "confirmed, that the method is unsure of, and that are unlike what it knows come first. Images with a lesson "
        "are left out. Prototypes that the bank lacks are made first.",
    )
    tasks.add_argument("images", type=image_path, nargs="+", metavar="IMAGE", help=IMAGES_HELP)
    words = tasks.add_mutually_exclusive_group(required=True)
    words.add_argument("--categories", metavar=CATEGORIES_FORM, help=CATEGORIES_HELP)
    words.add_argument("--label-config", type=Path, metavar="FILE.xml", help="the label config of a project")
    tasks.add_argument(
        "--limit",
        type=whole_number,
        default=_LIMIT,
        metavar="N",
        help=f"print so many images at most (default: {_LIMIT})",
    )
    add_engine_options(tasks)
    tasks.set_defaults(act=_next_tasks)


def _next_tasks(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.lint import label_config_vocabulary
    from backend.command.next_tasks import order_tasks
    from backend.command.plan import Wanted, make_plan
    from backend.command.prototypes import read_categories

    if options.categories is not None:
        vocabulary = read_categories(options.categories)
    else:
        vocabulary = label_config_vocabulary(options.label_config, settings.prediction.max_categories)
    plan = make_plan(options.images, Wanted(overlay=False))
    engine = engine_of(options, settings)
    max_px = settings.images.image_max_px
    order_tasks(plan, vocabulary, engine, max_px=max_px, limit=options.limit)
