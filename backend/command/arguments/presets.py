"""The commands `ovdiff presets`: arguments only.

Tested by tests/backend/command/test_cli.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from backend.command.arguments.shared import CATEGORIES_FORM, CATEGORIES_HELP, Commands, add_engine_options, engine_of
from backend.settings import Settings

_PRESET = "the name of a preset that `list` lists, or a .toml file"


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command, or the commands of the group."""
    presets = commands.add_parser("presets", help="list, show or check presets, or fetch the weights of one")
    verbs = presets.add_subparsers(required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="list the presets that come with ovdiff, and their weights")
    listing.set_defaults(act=_list_presets)
    show = verbs.add_parser("show", help="print a whole preset as TOML, with the licences of its weights")
    show.add_argument("preset", metavar="NAME_OR_FILE", help=_PRESET)
    show.set_defaults(act=_show_preset)
    check = verbs.add_parser("check", help="say which of a preset's weights are on this machine, and what is missing")
    check.add_argument("preset", metavar="NAME_OR_FILE", help=_PRESET)
    check.set_defaults(act=_check_preset)
    fetch = verbs.add_parser("fetch", help="fetch a preset's weights ahead of time, gigabytes for some presets")
    fetch.add_argument("preset", metavar="NAME_OR_FILE", help=_PRESET)
    fetch.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="write them there, with a preset file that reads them from there, for a machine without a network "
        "(default: the caches of the libraries)",
    )
    fetch.set_defaults(act=_fetch_preset)
    calibrate = verbs.add_parser(
        "calibrate",
        help="write a preset whose scores are probabilities, fitted on support images with their own masks",
        description="Fit the scores of a preset on the support images of your words, which come with their own masks, "
        "so no labels are needed. A score is then the probability that a region is right, at an IoU of 0.5. Prototypes "
        "that the bank lacks are made first.",
    )
    calibrate.add_argument("categories", metavar=CATEGORIES_FORM, help=CATEGORIES_HELP)
    calibrate.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE.toml",
        help="the preset file to write: the preset as it is, with other scores",
    )
    add_engine_options(calibrate)
    calibrate.set_defaults(act=_calibrate_preset)


def _list_presets(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.presets import list_presets

    list_presets()


def _show_preset(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.presets import show_preset

    show_preset(options.preset)


def _check_preset(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.preset_weights import check_preset

    check_preset(options.preset)


def _fetch_preset(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.preset_weights import fetch_preset

    fetch_preset(options.preset, options.to)


def _calibrate_preset(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.calibrate import calibrate_preset
    from backend.command.prototypes import read_categories

    vocabulary, base = read_categories(options.categories), options.preset or settings.preset
    calibrate_preset(base, vocabulary, engine_of(options, settings), options.out)
