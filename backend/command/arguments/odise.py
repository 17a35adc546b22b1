"""The commands `ovdiff odise`, about the heads of the second engine: arguments only.

Tested by tests/backend/command/test_cli.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from backend.command.arguments.shared import Commands
from backend.errors import UsageError
from backend.settings import Settings


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands of the group."""
    odise = commands.add_parser("odise", help="train a head of the second engine")
    verbs = odise.add_subparsers(required=True, metavar="VERB")
    _add_train(verbs)


def _add_train(verbs: Commands[argparse.ArgumentParser]) -> None:
    train = verbs.add_parser("train", help="train a head from annotated images")
    train.add_argument("--labels", type=Path, nargs="+", required=True, metavar="FILE", help="the annotated images")
    train.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the folder of the head")
    train.set_defaults(act=_train)


def _train(options: argparse.Namespace, settings: Settings) -> None:
    raise UsageError("Training is being written.")
