"""`ovdiff novelties`: what a folder's images show that is none of the words, as candidates for labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from backend.command.console import complain, progress_bar, say
from backend.command.files import write_png
from backend.command.one_image import IMAGE_ERRORS, read_image_file
from backend.command.plan import Plan
from backend.command.prototypes import build_missing, say_missing_anchors
from backend.command.refusals import cannot
from backend.command.table import table
from backend.errors import RequestError
from backend.presentation.crops import crop
from converters.console import answer
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.encodings import FindsNovelties
from ovdiff.novelties.groups import Example, NoveltyGroup, group_regions
from ovdiff.vocabulary import Vocabulary

MOST_GROUPS = 10
CROPS = 6
_TILE_PX, _GAP_PX, _LINE_PX = 120, 4, 18


def find_novelties(
    plan: Plan,
    vocabulary: Vocabulary,
    engine: SegmentationEngine,
    *,
    max_px: int,
    picture: Path | None = None,
) -> None:
    """Look for regions that show none of the words in the images of a plan, and print their groups, the largest first.

    Prototypes that the bank lacks are made first. After Ctrl-C or an error the groups of the images that were looked at
    until then are printed.

    Args:
        plan: the images.
        vocabulary: the words.
        engine: the method.
        max_px: images with more pixels are refused.
        picture: write a picture of crops of each group.

    Raises:
        UsageError: the engine does not find novelties.
        RequestError: some images could not be looked at, and each was reported; or the picture cannot be written.
        OVDiffError: prototypes cannot be made, or a model cannot be loaded.
    """
    if not isinstance(engine, FindsNovelties):
        raise cannot(engine, "does not find what a vocabulary lacks")
    build_missing(vocabulary.categories, engine)
    say_missing_anchors(engine)
    found: list[Example] = []
    done = failed = 0
    try:
        with progress_bar(len(plan.jobs), "image") as bar:
            for job in plan.jobs:
                bar.set_description(job.name)
                try:
                    encoded = engine.encode(read_image_file(job.image, max_px))
                    regions = engine.novel_regions(encoded, vocabulary)
                    found += [Example(job.name, replace(region, mask=None)) for region in regions]
                    done += 1
                except IMAGE_ERRORS as error:
                    failed += 1
                    complain(f"{job.image}: {error}")
                bar.update()
    finally:
        groups = group_regions(found)[:MOST_GROUPS]
        _say(groups, done, failed, len(plan.jobs) - done - failed)
        if picture is not None and groups:
            paths = {job.name: job.image for job in plan.jobs}
            write_png(_sheet(groups, paths, max_px), picture)
        if picture is not None:
            say(f"picture: {picture}" if groups else f"{picture} is not written: there is no group to show")
    if failed:
        raise RequestError(f"{failed} of {len(plan.jobs)} images could not be looked at; they are named above.")


def _say(groups: Sequence[NoveltyGroup], done: int, failed: int, not_done: int) -> None:
    counts = {"images": done, "failed": failed, "not_done": not_done}
    answer({**counts, "groups": [_as_json(group) for group in groups]})
    if groups:
        rows = [(str(number), *_row(group)) for number, group in enumerate(groups, 1)]
        header = ("group", "images", "regions", "looks like", "nearest prototype", "for instance in")
        say(table([header, *rows], right=(0, 1, 2, 4)))
    else:
        say("nothing was found that is none of the words")
    missing = ", ".join(f"{count} {what}" for what, count in (("failed", failed), ("not done", not_done)) if count)
    say(f"images looked at: {done}{f'; {missing}' if missing else ''}")


def _row(group: NoveltyGroup) -> tuple[str, ...]:
    word, share = group.looks_like[0]
    counts = str(group.images), str(len(group.examples))
    return (*counts, f"{word} ({share:.0%})", f"{group.likeness:.2f}", group.examples[0].image)


def _as_json(group: NoveltyGroup) -> dict[str, Any]:
    return {
        "rank": group.rank,
        "images": group.images,
        "looks_like": [{"word": word, "share": share} for word, share in group.looks_like],
        "likeness": group.likeness,
        "regions": [
            {
                "image": example.image,
                "box": list(example.region.box),
                "area_share": example.region.area_share,
                "novelty": example.region.novelty,
            }
            for example in group.examples
        ],
    }


def _sheet(groups: Sequence[NoveltyGroup], paths: dict[str, Path], max_px: int) -> Image.Image:
    """Return a picture with a row of crops for each group; the images are read again, one at a time."""
    row_px = _LINE_PX + _TILE_PX + _GAP_PX
    sheet = Image.new("RGB", (CROPS * (_TILE_PX + _GAP_PX) + _GAP_PX, len(groups) * row_px), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, group in enumerate(groups):
        word, share = group.looks_like[0]
        title = f"{number + 1}: looks like {word} ({share:.0%}), {len(group.examples)} regions in {group.images} images"
        draw.text((_GAP_PX, number * row_px + 2), title, fill="black", font=font)
        for column, example in enumerate(group.examples[:CROPS]):
            tile = crop(read_image_file(paths[example.image], max_px), example.region.box, _TILE_PX)
            sheet.paste(tile, (_GAP_PX + column * (_TILE_PX + _GAP_PX), number * row_px + _LINE_PX))
    return sheet
