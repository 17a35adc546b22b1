"""The commands `ovdiff prototypes`: arguments only.

Tested by tests/backend/command/test_cli.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from backend.command.arguments import curation
from backend.command.arguments.ray import add_ray_options, ray_of
from backend.command.arguments.shared import (
    CATEGORIES_FORM,
    CATEGORIES_HELP,
    Commands,
    add_bank_option,
    add_engine_options,
    bank_of,
    engine_of,
)
from backend.errors import UsageError
from backend.settings import Settings


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command, or the commands of the group."""
    prototypes = commands.add_parser("prototypes", help="make, list, look at, change or remove prototypes")
    verbs = prototypes.add_subparsers(required=True, metavar="VERB")
    build = verbs.add_parser("build", help="make the prototypes of categories that the bank lacks")
    build.add_argument("categories", nargs="?", metavar=CATEGORIES_FORM, help=CATEGORIES_HELP)
    build.add_argument(
        "--anchors", action="store_true", help="also those of the preset's anchors, once for all projects of the preset"
    )
    add_engine_options(build)
    add_ray_options(build)
    build.set_defaults(act=_build)
    listing = verbs.add_parser("list", help="list the prototype sets of the bank")
    add_bank_option(listing)
    listing.set_defaults(act=_list)
    show = verbs.add_parser("show", help="write a sheet of a category's support images, attribution and masks")
    show.add_argument(
        "which",
        metavar="CATEGORY_OR_KEY",
        help="a category or key that `list` shows; the first six digits of a key are enough",
    )
    show.add_argument(
        "--out",
        type=Path,
        metavar="FILE.png",
        help="the sheet's file (default: CATEGORY.support.png in the current folder)",
    )
    add_engine_options(show)
    show.set_defaults(act=_show)
    remove = verbs.add_parser(
        "remove", help="delete prototype sets, and their support images if no other set was made from them"
    )
    remove.add_argument("which", nargs="+", metavar="KEY_OR_CATEGORY", help="a category stands for all of its sets")
    remove.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    add_bank_option(remove)
    remove.set_defaults(act=_remove)
    curation.add(verbs)


def _build(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.prototypes import anchors_of, build_prototypes, read_categories

    if options.categories is None and not options.anchors:
        raise UsageError('Nothing to build: name categories, such as "boat, water", or pass --anchors.')
    asked = read_categories(options.categories).categories if options.categories is not None else ()
    engine = engine_of(options, settings)
    wanted = [*asked, *(anchors_of(engine) if options.anchors else ())]
    with ray_of(options, settings) as ray:
        build_prototypes(wanted, engine, ray)


def _list(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.prototypes import list_prototypes

    list_prototypes(bank_of(options, settings))


def _show(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.projects import known_projects
    from backend.command.show import show_prototypes

    bank, projects = bank_of(options, settings), known_projects(settings)
    show_prototypes(bank, options.which, engine_of(options, settings), options.out, projects)


def _remove(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.console import ask
    from backend.command.prototypes import remove_prototypes

    remove_prototypes(bank_of(options, settings), options.which, (lambda question: True) if options.yes else ask)
