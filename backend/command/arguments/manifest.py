"""The arguments of `ovdiff segment` for images by manifest.

Tested by tests/backend/command/manifest/test_run.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from backend.command.arguments.ray import ray_of
from backend.command.arguments.shared import engine_of, image_path, project_number, whole_number
from backend.command.arguments.workers import processes_of
from backend.errors import UsageError
from backend.settings import Settings

if TYPE_CHECKING:
    from backend.command.manifest.making import BringsImages
    from backend.command.manifest.reading import Manifest
    from backend.command.manifest.rows import Columns
    from backend.sources.images import FetchesImages
    from ovdiff.vocabulary import Vocabulary

SHARD_ROWS = 1000
_ONLY_HERE = ("root", "image_column", "id_column", "carry", "format", "shard_size", "retry_failed", "overwrite")


def add_manifest_option(group: argparse._ArgumentGroup) -> None:
    """Add the file of the rows."""
    group.add_argument(
        "--manifest",
        type=image_path,
        metavar="FILE",
        help="a Parquet file, JSON lines, or a COCO file, here or at an address; or a folder of the first two",
    )


def add_image_column_option(group: argparse._ArgumentGroup) -> None:
    """Add which column of the rows names the images."""
    group.add_argument(
        "--image-column", metavar="NAME", help="the column of the paths or addresses (default: image; COCO: file_name)"
    )


def add_options(segment: argparse.ArgumentParser) -> None:
    """Add the options to the command."""
    many = segment.add_argument_group(
        "images by manifest",
        "Millions of images, never all in memory: their rows come from a file or a project, and the results go into "
        "--out in shards, which a run that was ended keeps.",
    )
    add_manifest_option(many)
    many.add_argument(
        "--project", type=project_number, metavar="N", help="the tasks of a project of Label Studio, as a manifest"
    )
    many.add_argument(
        "--root",
        type=image_path,
        metavar="DIR",
        help="what the paths of a manifest are relative to, a folder or an address (default: the manifest's folder)",
    )
    add_image_column_option(many)
    many.add_argument("--id-column", metavar="NAME", help="the column of the images' ids (default: id)")
    many.add_argument(
        "--carry",
        type=names,
        metavar="A,B",
        help='the columns that are carried through to the results (default: all others; "" for none)',
    )
    many.add_argument(
        "--format",
        choices=("coco", "parquet"),
        help="what the shards are: COCO files (default), or Parquet with a row for each mask",
    )
    many.add_argument(
        "--shard-size", type=whole_number, metavar="N", help=f"rows of the manifest in a shard (default: {SHARD_ROWS})"
    )
    many.add_argument(
        "--retry-failed",
        action="store_true",
        default=None,
        help="make shards anew in which images failed, such as while a server was away",
    )
    many.add_argument(
        "--overwrite", action="store_true", default=None, help="replace the shards of another run in --out"
    )


def is_asked_for(options: argparse.Namespace) -> bool:
    """Return whether the images come by manifest.

    Raises:
        UsageError: they do not, and an option is given that concerns manifests alone; or they do in two ways.
    """
    from backend.command.addresses import looking_at

    given = [name for name in ("manifest", "project") if getattr(options, name) is not None]
    if not given:
        if others := [name for name in _ONLY_HERE if getattr(options, name) is not None]:
            raise UsageError(f"--{others[0].replace('_', '-')} concerns --manifest and --project; name one of them.")
        return False
    if len(given) > 1 or options.images:
        raise UsageError("Name the images in one way: as files or folders, by --manifest, or by --project.")
    pictures = [name for name in ("overlay", "indexed", "coco", "panoptic") if getattr(options, name)]
    if pictures:
        raise UsageError(
            f"--{pictures[0]} does not go with --{given[0]}, which writes shards into --out; --format says which."
        )
    if options.project is not None and options.id_column is not None:
        raise UsageError("--id-column does not go with --project: the id of an image is that of its task.")
    if options.out is None:
        raise UsageError("Say with --out where the shards are to go: a folder, or an address of a storage.")
    if options.root is not None:
        with looking_at():
            if not options.root.is_dir():
                raise UsageError(f"--root is {str(options.root)!r}; expected the folder of the images.")
    return True


def run(options: argparse.Namespace, settings: Settings) -> None:
    """Segment the images of the manifest."""
    from backend.command.manifest.making import Making
    from backend.command.manifest.reading import require_rows
    from backend.command.manifest.run import Orders, prepare, segment_manifest
    from backend.command.manifest.shards import ShardFolder
    from backend.command.plan import Wanted
    from backend.serving.heap import freed_memory_given_back
    from converters.commands import thresholds_of
    from ovdiff.storage import place

    manifest, images, vocabulary = _source(options, settings)
    wanted = Wanted(
        overlay=False,
        split_parts=options.split_parts,
        min_area_px=options.min_area,
        thresholds=thresholds_of(options, settings.output.min_score),
        instances=options.instances,
    )
    if wanted.split_parts and wanted.instances:
        raise UsageError("--instances and --split-parts are two ways to make annotations of a mask; leave one out.")
    wanted.thresholds.require_known(vocabulary.names)
    orders = Orders(
        manifest,
        ShardFolder(place(str(options.out), settings.storage_patience_s), options.format or "coco"),
        wanted,
        options.shard_size or SHARD_ROWS,
        bool(options.retry_failed),
        bool(options.overwrite),
    )
    require_rows(manifest, _named_columns(options))
    orders.folder.require_usable()
    processes = processes_of(options, settings)
    engine = engine_of(options, settings)
    with freed_memory_given_back(), ray_of(options, settings) as ray:
        version = prepare(engine, vocabulary, wanted, ray)
        limits = settings.images
        making = Making(vocabulary, wanted, images, limits.image_max_px, version, limits.pixels_at_once)
        segment_manifest(orders, making, engine, ray or processes)


def _source(options: argparse.Namespace, settings: Settings) -> tuple[Manifest, BringsImages, Vocabulary]:
    """Return the manifest, what brings its images, and the categories."""
    from backend.command.manifest.images import FetcherOfSettings, ImagesOfRows
    from backend.command.manifest.reading import open_manifest
    from backend.command.manifest.rows import Columns
    from backend.command.prototypes import read_categories

    columns = Columns(id=options.id_column or "id", carried=options.carry)
    fetcher = FetcherOfSettings(settings.label_studio, settings.images)
    if options.project is not None:
        return _project(options, settings, columns, fetcher)
    if options.categories is None:
        raise UsageError('Say with --categories what is to be found, such as --categories "boat, water".')
    manifest = open_manifest(options.manifest, columns, image_column=options.image_column)
    folder = str(options.root or manifest.folder)
    images = ImagesOfRows(folder, fetcher, settings.storage_patience_s)
    return manifest, images, read_categories(options.categories)


def _project(
    options: argparse.Namespace, settings: Settings, columns: Columns, fetcher: FetchesImages
) -> tuple[Manifest, BringsImages, Vocabulary]:
    from backend.command.addresses import ImagesBelow
    from backend.command.manifest.images import ImagesOfTasks
    from backend.command.manifest.reading import project_manifest
    from backend.command.prototypes import read_categories
    from backend.serving.vocabulary import read_labelling
    from backend.sources.label_studio import LabelStudioClient
    from ovdiff.vocabulary import Vocabulary

    client = LabelStudioClient(settings.label_studio)
    config = client.project(options.project).label_config
    labelling = read_labelling(config, max_categories=settings.prediction.max_categories)
    chosen = Vocabulary(labelling.categories) if options.categories is None else read_categories(options.categories)
    name = options.image_column or labelling.outputs[0].image.data_key
    manifest = project_manifest(client, options.project, name, columns)
    if options.root is None:
        return manifest, ImagesOfTasks(fetcher, manifest.name), chosen
    root = str(options.root.resolve()) if isinstance(options.root, Path) else str(options.root)
    return manifest, ImagesOfTasks(ImagesBelow(options.root, "", settings.images), root), chosen


def _named_columns(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Return each option that names a column, with the column."""
    named = [("--image-column", options.image_column), ("--id-column", options.id_column)]
    named += [("--carry", column) for column in options.carry or ()]
    return [(option, column) for option, column in named if column is not None]


def names(text: str) -> tuple[str, ...]:
    """Return names that are separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
