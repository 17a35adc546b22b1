"""The command `ovdiff lint`: arguments only.

Tested by tests/backend/command/test_lint.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from backend.command.arguments.shared import CATEGORIES_FORM, CATEGORIES_HELP, Commands, add_engine_options, engine_of
from backend.settings import Settings


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    lint = commands.add_parser(
        "lint",
        help="say which categories will be confused, before anybody labels",
        description="Forecast what a vocabulary will be good for: which categories will be confused, which words CLIP "
        "cannot tell apart, which words the generator does not know, and an expected IoU of each category. Half of the "
        "support images are segmented with prototypes of the other half. Prototypes that the bank lacks are made "
        "first. The exit status is 0 also with findings, unless --strict is given.",
    )
    words = lint.add_mutually_exclusive_group(required=True)
    words.add_argument("--categories", metavar=CATEGORIES_FORM, help=CATEGORIES_HELP)
    words.add_argument("--label-config", type=Path, metavar="FILE.xml", help="the label config of a project")
    lint.add_argument(
        "--no-build",
        action="store_true",
        help="make no prototypes: say which are missing, and compare the names of these categories by CLIP alone",
    )
    lint.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="write a picture of the confusion matrix of the support images"
    )
    lint.add_argument("--strict", action="store_true", help="exit with status 1 if there are findings")
    add_engine_options(lint)
    lint.set_defaults(act=_lint)


def _lint(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.lint import label_config_vocabulary, lint_vocabulary
    from backend.command.prototypes import read_categories

    if options.categories is not None:
        vocabulary = read_categories(options.categories)
    else:
        vocabulary = label_config_vocabulary(options.label_config, settings.prediction.max_categories)
    lint_vocabulary(
        vocabulary,
        engine_of(options, settings),
        build=not options.no_build,
        strict=options.strict,
        picture=options.picture,
    )
