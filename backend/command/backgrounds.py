"""`ovdiff prototypes backgrounds`, `ban`, `unban` and `promote`: the background of a word, listed and changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from backend.command.console import say
from backend.command.curation import say_changed
from backend.command.files import check_png_path, write_png
from backend.command.named_category import curator_of, named_category
from backend.command.support_sheet import TILE_PX, cut_out
from backend.command.table import table
from converters.console import answer
from ovdiff.bank import Bank
from ovdiff.bank.background import BackgroundPrototype
from ovdiff.bank.support import SupportSet
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.building import HasSupportSets

_TILES = 6  # of the images in which a prototype has most places
_TEXT_PX, _GAP_PX = 170, 4


def list_backgrounds(
    bank: Bank, which: str, engine: SegmentationEngine, out: Path | None = None, *, everything: bool = False
) -> None:
    """Print the background prototypes of a category with their places, and draw them if a file is named.

    Args:
        bank: the bank.
        which: the category, as a person names it.
        engine: an engine with the preset that is meant.
        out: the PNG to write.
        everything: list the means of all background and of each image too, not only the parts.

    Raises:
        UsageError: as `named_category` raises it, or `out` is no name of a PNG file.
        OVDiffError: as `CategoryCurator.backgrounds` raises it.
    """
    check_png_path("--out", out)
    category = named_category(which, bank, engine)
    found = [item for item in curator_of(engine).backgrounds(category) if everything or item.kind == "part"]
    rows = [
        (str(item.number), item.extractor, item.kind, f"{item.share:.0%}", ", ".join(map(str, item.places)))
        for item in found
    ]
    has_sheet = out is not None and isinstance(engine, HasSupportSets)
    answer(
        {
            "category": category.name,
            "backgrounds": [
                {
                    "number": item.number,
                    "extractor": item.extractor,
                    "kind": item.kind,
                    "share": item.share,
                    "px_in_images": {number: int(places.sum()) for number, places in item.places.items()},
                }
                for item in found
            ],
            "sheet": out if has_sheet else None,
        }
    )
    say(table([("number", "extractor", "kind", "share", "in images"), *rows], right=(0, 3)))
    if out is not None and isinstance(engine, HasSupportSets):
        write_png(draw_background_sheet(engine.support_set(category), found), out)
        say(f"sheet: {out}")


def ban_background(bank: Bank, which: str, number: int, why: str, engine: SegmentationEngine) -> None:
    """Ban a background prototype of a category, and say what follows.

    Raises:
        UsageError, OVDiffError: as `named_category` and `CategoryCurator.ban` raise them.
    """
    category = named_category(which, bank, engine)
    say_changed(engine, (category, curator_of(engine).ban(category, number, why)))


def unban_background(bank: Bank, which: str, number: int, engine: SegmentationEngine) -> None:
    """Lift a ban of a category by its number in the curation, and say what follows.

    Raises:
        UsageError, OVDiffError: as `named_category` and `CategoryCurator.unban` raise them.
    """
    category = named_category(which, bank, engine)
    say_changed(engine, (category, curator_of(engine).unban(category, number)))


def promote_background(bank: Bank, which: str, number: int, into: str, engine: SegmentationEngine) -> None:
    """Make a background prototype of a category another category, and say what follows.

    Raises:
        UsageError, OVDiffError: as `named_category` and `CategoryCurator.promote` raise them.
    """
    category, other = named_category(which, bank, engine), named_category(into, bank, engine)
    curator = curator_of(engine)
    new = curator.promote(category, number, other)
    say_changed(engine, (category, curator.curation(category)), (other, new))


def draw_background_sheet(support: SupportSet, prototypes: Sequence[BackgroundPrototype]) -> Image.Image:
    """Return a picture with a row for each background prototype: its places in the images where it has most."""
    height, font = TILE_PX + _GAP_PX, ImageFont.load_default(12)
    sheet = Image.new("RGB", (_TEXT_PX + _TILES * (TILE_PX + _GAP_PX), max(1, len(prototypes)) * height), "white")
    draw, images = ImageDraw.Draw(sheet), {item.number: item.image for item in support.images}
    for row, prototype in enumerate(prototypes):
        text = f"{prototype.number}: {prototype.extractor}\n{prototype.kind}, {prototype.share:.0%} of background"
        draw.multiline_text((_GAP_PX, row * height + TILE_PX // 2 - 15), text, fill="black", font=font)
        most = sorted(prototype.places, key=lambda number: -int(prototype.places[number].sum()))[:_TILES]
        for column, number in enumerate(most):
            shown = cut_out(images[number], np.asarray(prototype.places[number]))
            tile = Image.fromarray(shown).resize((TILE_PX, TILE_PX), Image.Resampling.BOX)
            left = _TEXT_PX + column * (TILE_PX + _GAP_PX)
            sheet.paste(tile, (left, row * height))
            draw.text((left + 3, row * height + 2), str(number), fill="black", font=font)
    return sheet
