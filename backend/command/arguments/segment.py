"""The command `ovdiff segment`: arguments only.

Tested by tests/backend/command/test_cli.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import converters.cli
from backend.command.arguments import manifest
from backend.command.arguments.ray import add_ray_options, ray_of
from backend.command.arguments.shared import (
    CATEGORIES_FORM,
    CATEGORIES_HELP,
    IMAGES_HELP,
    Commands,
    add_engine_options,
    engine_of,
    image_path,
)
from backend.command.arguments.workers import add_workers_option, processes_of
from backend.errors import UsageError
from backend.settings import Settings


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command, or the commands of the group."""
    segment = commands.add_parser(
        "segment",
        help="segment images and folders of images",
        description="Segment images. Prototypes that the bank lacks are made first. --overlay, --indexed, --coco and "
        "--panoptic choose the results; without any of them the overlay is written. Existing files of the same name "
        "are replaced, but for a picture that --out names and ovdiff did not draw.",
    )
    segment.add_argument("images", type=image_path, nargs="*", metavar="IMAGE", help=IMAGES_HELP)
    segment.add_argument(
        "--categories",
        metavar=CATEGORIES_FORM,
        help=f"{CATEGORIES_HELP}; with --project the default is the project's labels",
    )
    segment.add_argument(
        "--out",
        type=image_path,
        metavar="FOLDER",
        help="folder for the pictures; it gets the same subfolders as the folder of the images. For a single picture "
        "of a single image, a file NAME.png is possible too. "
        "Default: beside each image. A folder of images needs this option",
    )
    segment.add_argument(
        "--overlay", action="store_true", help="write NAME.overlay.png: the image with its categories tinted"
    )
    segment.add_argument(
        "--indexed",
        action="store_true",
        help="write NAME.indexed.png: a palette picture; pixel value 0 is background, 1 the first category and so on",
    )
    segment.add_argument(
        "--coco", type=Path, metavar="FILE", help="write one COCO file with the masks (RLE) and scores of all images"
    )
    segment.add_argument(
        "--split-parts",
        action="store_true",
        help="an annotation for each connected part of a mask in the COCO file, as a detector's training wants it",
    )
    segment.add_argument(
        "--instances",
        action="store_true",
        help="an annotation for each object in the COCO file, and one for each kind of stuff; objects of one kind that "
        "touch are told apart as the preset's [instances] says",
    )
    segment.add_argument(
        "--panoptic",
        type=Path,
        metavar="FOLDER",
        help="write a COCO panoptic dataset into a new folder: an id a pixel, for each object and each kind of stuff",
    )
    segment.add_argument(
        "--min-area",
        type=_area,
        default=0,
        metavar="PX",
        help="drop connected parts of fewer pixels of the image, and count them (default: drop none)",
    )
    converters.cli.add_threshold_arguments(segment, "hide masks", "OVDIFF_MIN_SCORE, else 0, which hides none")
    manifest.add_options(segment)
    add_workers_option(segment)
    add_engine_options(segment)
    add_ray_options(segment)
    segment.set_defaults(act=_segment)


def _area(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise argparse.ArgumentTypeError(f"expected a whole number of pixels, 0 or more, got {text!r:.60}")
    return int(text)


def _segment(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.plan import Wanted, make_plan
    from backend.command.prototypes import read_categories
    from backend.command.segment import check_vocabulary, segment_images
    from converters.commands import thresholds_of

    if manifest.is_asked_for(options):
        manifest.run(options, settings)
        return
    if not options.images or options.categories is None:
        raise UsageError("Say which images (files, folders, --manifest or --project) and which --categories.")
    if options.out is not None and not isinstance(options.out, Path):
        raise UsageError(f"--out is {options.out}; pictures go to a folder of this machine. --manifest writes there.")
    overlay = options.overlay or not (options.indexed or options.coco or options.panoptic)
    vocabulary = read_categories(options.categories)
    wanted = Wanted(
        options.out,
        overlay,
        options.indexed,
        options.coco,
        options.split_parts,
        options.min_area,
        thresholds_of(options, settings.output.min_score),
        options.instances,
        options.panoptic,
    )
    plan = make_plan(options.images, wanted)
    check_vocabulary(vocabulary, plan)
    processes = processes_of(options, settings, len(plan.jobs))
    engine = engine_of(options, settings)
    with ray_of(options, settings) as ray:
        limits = settings.images
        segment_images(
            plan,
            vocabulary,
            engine,
            max_px=limits.image_max_px,
            px_at_once=limits.pixels_at_once,
            ray=ray,
            processes=processes,
        )
