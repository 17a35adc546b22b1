"""The command `ovdiff explain`: arguments only.

Tested by tests/backend/command/test_explain.py.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from backend.command.arguments.shared import CATEGORIES_FORM, CATEGORIES_HELP, Commands, add_engine_options, engine_of
from backend.settings import Settings

_PIXEL = re.compile(r"\s*(\d{1,6})\s*,\s*(\d{1,6})\s*", re.ASCII)


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    explain = commands.add_parser(
        "explain",
        help="say why a place of an image has its label",
        description="Say why a place of an image has its label: which prototypes were nearest, in which windows and by "
        "which extractor, what the best other word had, what later steps changed, and which support images are behind "
        "it. Prototypes that the bank lacks are made first.",
    )
    explain.add_argument("image", type=Path, metavar="IMAGE", help="an image file")
    explain.add_argument("--categories", required=True, metavar=CATEGORIES_FORM, help=CATEGORIES_HELP)
    place = explain.add_mutually_exclusive_group(required=True)
    place.add_argument(
        "--at", type=_pixel, metavar="X,Y", help="a pixel of the image, from 0,0 at the top left, as in 120,80"
    )
    place.add_argument(
        "--region",
        type=Path,
        metavar="MASK.png",
        help="a mask of the image's size, not 0 inside; figures are means over it",
    )
    explain.add_argument(
        "--out",
        type=Path,
        metavar="PICTURE.png",
        help="write a picture: the place, the labels, and the support regions of the winner and the runner-up",
    )
    add_engine_options(explain)
    explain.set_defaults(act=_explain)


def _pixel(text: str) -> tuple[int, int]:
    if not (found := _PIXEL.fullmatch(text)):
        raise argparse.ArgumentTypeError(f"expected a pixel X,Y such as 120,80, got {text!r:.60}")
    return int(found[1]), int(found[2])


def _explain(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.explain import Question, explain_image
    from backend.command.prototypes import read_categories

    asked = Question(options.image, options.at or options.region, read_categories(options.categories))
    engine, most_px = engine_of(options, settings), settings.images.image_max_px
    explain_image(asked, engine, max_px=most_px, out=options.out)
