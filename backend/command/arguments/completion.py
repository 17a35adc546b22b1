"""The command `ovdiff completion`: arguments, and the script that a shell reads.

Tested by tests/backend/command/test_cli.py.
"""

from __future__ import annotations

import argparse

from backend.command.arguments.shared import Commands
from backend.settings import Settings

SHELLS = ("bash", "zsh")


def add(commands: Commands[argparse.ArgumentParser], parser: argparse.ArgumentParser) -> None:
    """Add the command; it completes the words of ``parser``, to which ``commands`` belong."""
    completion = commands.add_parser(
        "completion",
        help="print a script that completes commands and options in a shell",
        description="Print a script by which a shell completes commands and options at Tab.",
    )
    completion.add_argument("shell", choices=SHELLS, help="the shell that reads the script")

    def act(options: argparse.Namespace, _settings: Settings) -> None:
        import shtab

        from backend.command.console import say

        say(shtab.complete(parser, options.shell))

    completion.set_defaults(act=act)
