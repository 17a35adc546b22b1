"""The command `ovdiff prelabel`: arguments only.

Tested by tests/backend/command/test_prelabel.py.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from backend.command.arguments.manifest import add_image_column_option, add_manifest_option, names
from backend.command.arguments.ray import add_ray_options, ray_of
from backend.command.arguments.shared import (
    Commands,
    add_engine_options,
    engine_of,
    image_folder,
    project_number,
    require_images,
    whole_number,
)
from backend.errors import UsageError
from backend.settings import Settings

if TYPE_CHECKING:
    from backend.command.manifest.reading import Manifest
    from backend.command.prelabel_manifest import Addressing


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    prelabel = commands.add_parser(
        "prelabel",
        help="predict all tasks of a project, and store the predictions in Label Studio",
        description="Predict the tasks of a project at LABEL_STUDIO_URL with LABEL_STUDIO_API_KEY, and store the "
        "predictions there. A task that has a prediction of the present model version is left as it is; so a run that "
        "was ended in whatever way goes on when the same command is run again. Older predictions of ovdiff are "
        "replaced, others are not touched. Prototypes that the bank lacks are made first. With --manifest, rows whose "
        "image is no task of the project become tasks, with their predictions; its other tasks are left as they are.",
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
    add_manifest_options(prelabel)
    prelabel.add_argument("--no-build", action="store_true", help="make no prototypes; refuse if some are missing")
    add_engine_options(prelabel)
    add_ray_options(prelabel)
    prelabel.set_defaults(act=_prelabel)


def add_manifest_options(prelabel: argparse.ArgumentParser) -> None:
    """Add the rows that become tasks."""
    rows = prelabel.add_argument_group("new tasks by manifest")
    add_manifest_option(rows)
    add_image_column_option(rows)
    rows.add_argument(
        "--carry",
        type=names,
        metavar="A,B",
        help='the columns that go into the data of the tasks (default: all others; "" for none)',
    )


def _prelabel(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.prelabel import Wishes, prelabel_project
    from backend.command.prelabel_manifest import import_manifest
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
    rows = _rows(options, settings)
    engine = engine_of(options, settings)
    with freed_memory_given_back(), ray_of(options, settings) as ray:
        if rows is None:
            prelabel_project(wishes, settings, engine, ray=ray)
        else:
            import_manifest(wishes, *rows, settings, engine, ray=ray)


def _rows(options: argparse.Namespace, settings: Settings) -> tuple[Manifest, Addressing] | None:
    """Return the rows that become tasks, with what the tasks call their images; None if there is no manifest.

    Raises:
        UsageError: the manifest cannot be read, or an option does not go with it, or with its absence.
    """
    from backend.command.manifest.reading import open_manifest, require_rows
    from backend.command.manifest.rows import Columns
    from backend.command.prelabel_manifest import addressing_of

    if options.manifest is None:
        if options.image_column is not None or options.carry is not None:
            raise UsageError("--image-column and --carry concern --manifest, which names the rows.")
        require_images(options)
        return None
    if options.query is not None or options.changed_only or options.unannotated:
        raise UsageError(
            "--query, --changed-only and --unannotated choose among tasks; leave them out with --manifest."
        )
    # A task has an id of its own, so that of a row is carried through as any other column is.
    columns = Columns(id="", carried=options.carry)
    manifest = open_manifest(options.manifest, columns, image_column=options.image_column)
    named = [("--image-column", options.image_column)] if options.image_column else []
    require_rows(manifest, named + [("--carry", column) for column in options.carry or ()])
    return manifest, addressing_of(options.images, options.image_root, manifest, settings)
