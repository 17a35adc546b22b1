"""The command `ovdiff export`: arguments only.

Tested by tests/backend/command/test_cli.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from backend.command.arguments.shared import Commands, project_number
from backend.settings import Settings


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command, or the commands of the group."""
    export = commands.add_parser(
        "export",
        help="fetch a project's tasks, annotations, predictions and label config from Label Studio",
        description="Fetch a project from LABEL_STUDIO_URL with LABEL_STUDIO_API_KEY: all tasks with their annotations "
        "and predictions (export.json) and the label config (config.xml), as convert, validate and "
        "evaluate-corrections read them. Older files of these names are replaced when everything has arrived.",
    )
    export.add_argument(
        "--project", type=project_number, required=True, metavar="N", help="the N of the address /projects/N/"
    )
    export.add_argument("--out", type=Path, metavar="FOLDER", help="folder for the two files (default: project-N)")
    export.set_defaults(act=_export)


def _export(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.export import export_project
    from backend.sources.label_studio import LabelStudioClient

    folder = options.out or Path(f"project-{options.project}")
    export_project(LabelStudioClient(settings.label_studio), options.project, folder)
