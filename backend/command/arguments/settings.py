"""The command `ovdiff settings`: arguments only.

Tested by tests/backend/command/test_cli.py.
"""

from __future__ import annotations

import argparse

from backend.command.arguments.shared import Commands
from backend.settings import Settings


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command, or the commands of the group."""
    settings = commands.add_parser(
        "settings", help="print all settings: the values in force and where they come from, units and reasons"
    )
    settings.set_defaults(act=_settings)


def _settings(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.settings import show_settings

    show_settings()
