"""The commands `ovdiff projects`: arguments only.

Tested by tests/backend/command/test_cli.py.
"""

from __future__ import annotations

import argparse

from backend.command.arguments.shared import Commands
from backend.settings import Settings


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command, or the commands of the group."""
    projects = commands.add_parser("projects", help="list the projects that the service has stored, or forget some")
    verbs = projects.add_subparsers(required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="list the projects with their labels")
    listing.set_defaults(act=_list_projects)
    forget = verbs.add_parser("forget", help="forget projects; works while the service runs, too")
    forget.add_argument("which", nargs="+", metavar="N_OR_UID", help="the N of the address /projects/N/, or a uid")
    forget.set_defaults(act=_forget_projects)


def _list_projects(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.projects import list_projects

    list_projects(settings)


def _forget_projects(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.projects import forget_projects

    forget_projects(settings, options.which)
