"""The command `ovdiff prelabel`: arguments only.

Tested by tests/backend/command/test_prelabel.py.
"""

from __future__ import annotations

import argparse

from backend.command.arguments.ray import add_ray_options, ray_of
from backend.command.arguments.shared import (
    Commands,
    add_engine_options,
    engine_of,
    image_folder,
    project_number,
    whole_number,
)
from backend.settings import Settings


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    prelabel = commands.add_parser(
        "prelabel",
        help="predict all tasks of a project, and store the predictions in Label Studio",
        description="Predict the tasks of a project at LABEL_STUDIO_URL with LABEL_STUDIO_API_KEY, and store the "
        "predictions there. A task that has a prediction of the present model version is left as it is; so a run that "
        "was ended in whatever way goes on when the same command is run again. Older predictions of ovdiff are "
        "replaced, others are not touched. Prototypes that the bank lacks are made first.",
    )
    prelabel.add_argument(
        "--project", type=project_number, required=True, metavar="N", help="the N of the address /projects/N/"
    )
    prelabel.add_argument(
        "--query",
        metavar="WHICH",
        help='only some tasks: ids, as in "1,2,5-9"; a tab of the Data Manager, by its address or as "tab=12"; or a '
        "filter of Label Studio, as JSON",
    )
    prelabel.add_argument(
        "--changed-only", action="store_true", help="only tasks that have a prediction of ovdiff of another version"
    )
    prelabel.add_argument("--unannotated", action="store_true", help="only tasks that nobody has annotated")
    prelabel.add_argument("--limit", type=whole_number, metavar="K", help="predict so many tasks at most")
    prelabel.add_argument("--dry-run", action="store_true", help="say how many tasks would change, and write nothing")
    prelabel.add_argument(
        "--images",
        "--root",
        type=image_folder,
        metavar="DIR",
        help="where the images are, a folder or an address such as s3://bucket (default: where the tasks say)",
    )
    prelabel.add_argument(
        "--image-root", default="", metavar="ADDRESS", help="what precedes the file names in the tasks' addresses"
    )
    prelabel.add_argument("--no-build", action="store_true", help="make no prototypes; refuse if some are missing")
    add_engine_options(prelabel)
    add_ray_options(prelabel)
    prelabel.set_defaults(act=_prelabel)


def _prelabel(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.prelabel import Wishes, prelabel_project
    from backend.serving.heap import freed_memory_given_back
    from backend.serving.prelabelling.plans import Choice

    wishes = Wishes(
        options.project,
        options.query,
        Choice(changed_only=options.changed_only, unannotated_only=options.unannotated),
        limit=options.limit,
        dry_run=options.dry_run,
        may_build=not options.no_build,
        images=options.images,
        image_root=options.image_root,
    )
    engine = engine_of(options, settings)
    with freed_memory_given_back(), ray_of(options, settings) as ray:
        prelabel_project(wishes, settings, engine, ray=ray)
