"""The command `ovdiff serve`: arguments only.

Tested by tests/backend/command/test_cli.py.
"""

from __future__ import annotations

import argparse

from backend.command.arguments.shared import Commands
from backend.settings import Settings


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command, or the commands of the group."""
    serve = commands.add_parser("serve", help="answer Label Studio's requests until interrupted")
    serve.set_defaults(act=_serve)


def _serve(options: argparse.Namespace, settings: Settings) -> None:
    from backend.pages.blueprint import add_pages
    from backend.serving.http.listening import serve

    serve(settings, add_pages=add_pages)
