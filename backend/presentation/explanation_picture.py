"""A picture of an explanation: the place, the labels, the steps, and the support regions of the finalists."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from backend.presentation.overlay import label_colours, tint
from backend.presentation.taught_text import taught_lines
from backend.presentation.verdict import stage_rows, verdict
from ovdiff.explaining.explanation import Explanation, Source, SupportPlace

VIEW_PX = 360
"""The longer side of the image and of its labels in the picture."""
TILE_PX = 96
TILES = 4
"""Support images a prototype, those with the largest places."""
PROTOTYPES = 5
"""Prototypes a finalist, those with the most weight."""
_GAP_PX, _LINE_PX, _SMALL_PX, _TEXT_PX = 8, 16, 13, 176
_HALF_PX = _TEXT_PX + TILES * (TILE_PX + 4) + 3 * _GAP_PX
_FADED = 0.25  # what is left of the colour of a support image outside the place
_MARK, _MARK_EDGE = (255, 230, 0), (0, 0, 0)


@dataclass(frozen=True)
class PrototypeRow:
    """One prototype of a finalist: what it was made of, its share of the finalist's votes, and its mean cosine."""

    source: Source
    share: float
    cosine: float


def draw_explanation(image: NDArray[np.uint8], found: Explanation, title: str) -> Image.Image:
    """Return the picture, RGB.

    Args:
        image: (H, W, 3) uint8 RGB, the image that was explained.
        found: the explanation.
        title: what the picture is of, such as the image's name and the place.
    """
    halves = [_half(found, place) for place in shown_finalists(found)]
    notes_px = sum(map(_column_px, zip(*stage_rows(found), strict=True)))
    width = max(2 * _HALF_PX, round(2 * (VIEW_PX + _GAP_PX) + 2 * _GAP_PX + notes_px))
    head = _head(image, found, title, width)
    sheet = Image.new("RGB", (width, head.height + max(half.height for half in halves)), "white")
    sheet.paste(head, (0, 0))
    for number, half in enumerate(halves):
        sheet.paste(half, (number * _HALF_PX, head.height))
    return sheet


def shown_finalists(found: Explanation) -> Sequence[int]:
    """Return two finalists: the winner by votes, and whoever has the label in the end, or else the runner-up."""
    if found.named is not None and found.named != found.winner:
        return (found.named, found.winner)
    return found.finalists()[:2]


def _head(image: NDArray[np.uint8], found: Explanation, title: str, width: int) -> Image.Image:
    """Draw the title, the verdict, the image and its labels with the place marked, the legend and the steps."""
    told = [verdict(found), *taught_lines(found)]
    lines = [line for sentence in told for line in textwrap.wrap(sentence, width // 7)]
    top = _GAP_PX + 24 + len(lines) * _LINE_PX + _GAP_PX
    scale = VIEW_PX / max(image.shape[:2])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    beside_px = _LINE_PX * (len(_legend(found)) + len(found.stages) + 4)
    head = Image.new("RGB", (width, top + max(size[1] + _LINE_PX, beside_px) + 2 * _GAP_PX), "white")
    draw = ImageDraw.Draw(head)
    draw.text((_GAP_PX, _GAP_PX), f"{title}: {found.label}", fill="black", font=ImageFont.load_default(18))
    _write(draw, (_GAP_PX, _GAP_PX + 24), lines)
    views = {"image": image, "labels": tint(image, found.segmentation.label_map, label_colours(len(found.names)))}
    left = _GAP_PX
    for name, pixels in views.items():
        _write(draw, (left, top), [name])
        head.paste(_marked(pixels, found.mask, size), (left, top + _LINE_PX))
        left += size[0] + _GAP_PX
    _side_notes(draw, found, (left + _GAP_PX, top))
    return head


def _legend(found: Explanation) -> list[int]:
    """Return the label ids that the image has, background included."""
    return np.unique(found.segmentation.label_map).tolist()


def _side_notes(draw: ImageDraw.ImageDraw, found: Explanation, place: tuple[int, int]) -> None:
    """Draw the legend of the labels, and below it the steps with the finalists' scores."""
    left, top = place
    colours = label_colours(len(found.names))
    for label in _legend(found):
        draw.rectangle((left, top + 3, left + 10, top + 13), fill=tuple(colours[label].tolist()), outline="black")
        _write(draw, (left + 18, top), [found.name(label)])
        top += _LINE_PX
    rows = stage_rows(found)
    top += _LINE_PX
    for cells in zip(*rows, strict=True):
        _write(draw, (left, top), cells)
        left += _column_px(cells)


def _marked(pixels: NDArray[np.uint8], mask: NDArray[np.bool_], size: tuple[int, int]) -> Image.Image:
    """Return an image of a size (width, height) with the place in a ring, or a region's outline drawn."""
    view = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    if mask.sum() > 1:
        shown = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        drawn = np.array(view)
        drawn[ndimage.binary_dilation(shown, iterations=3) & ~shown] = _MARK_EDGE
        drawn[ndimage.binary_dilation(shown, iterations=2) & ~shown] = _MARK
        return Image.fromarray(drawn)
    row, column = (int(place[0]) for place in np.nonzero(mask))
    x, y = (column + 0.5) * size[0] / mask.shape[1], (row + 0.5) * size[1] / mask.shape[0]
    draw = ImageDraw.Draw(view)
    for radius, colour, line in ((10, _MARK_EDGE, 4), (9, _MARK, 2)):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=line)
    draw.point((x, y), fill=_MARK)
    return view


def _half(found: Explanation, place: int) -> Image.Image:
    """Draw one finalist: its score, and a row for each of its prototypes that count most."""
    rival, rows = found.rivals[place], prototype_rows(found, place)
    head_px, row_px = 3 * _LINE_PX, TILE_PX + _LINE_PX + 4
    half = Image.new("RGB", (_HALF_PX, head_px + max(1, len(rows)) * row_px + _GAP_PX), "white")
    draw = ImageDraw.Draw(half)
    draw.line((_GAP_PX, 0, _HALF_PX - _GAP_PX, 0), fill="black")
    role = " (an anchor: nobody asked for it)" if rival.is_anchor else ""
    what = roles(found, place)
    draw.text((_GAP_PX, 4), f"{rival.name}{role}  {rival.score:.3f}", fill="black", font=ImageFont.load_default(16))
    _write(draw, (_GAP_PX, 6 + _LINE_PX + 4), [what])
    if not rows:
        _write(draw, (_GAP_PX, head_px), ["It has no prototypes: its score is a threshold."])
    for number, row in enumerate(rows):
        _draw_row(half, draw, found, row, head_px + number * row_px)
    return half


def roles(found: Explanation, place: int) -> str:
    """Say what a finalist is: by the votes, and in the end."""
    roles = []
    if place == found.winner:
        roles.append("most votes")
    if place == found.runner_up:
        roles.append("best of the others by votes")
    if place == found.named:
        roles.append("the label in the end")
    return ", ".join(roles)


def prototype_rows(found: Explanation, place: int) -> list[PrototypeRow]:
    """Return the prototypes of a finalist whose sources were looked for, those with the most weight first."""
    label = found.rivals[place].label
    weights: dict[object, float] = {}
    cosines: dict[object, float] = {}
    for vote in found.votes:
        for nearest in vote.nearest.get(label, ()):
            weight = vote.weight * nearest.share
            weights[nearest.prototype] = weights.get(nearest.prototype, 0.0) + weight
            cosines[nearest.prototype] = cosines.get(nearest.prototype, 0.0) + weight * nearest.cosine
    known = [source for source in found.sources if source.prototype in weights]
    known.sort(key=lambda source: -weights[source.prototype])
    return [
        PrototypeRow(source, weights[source.prototype], cosines[source.prototype] / weights[source.prototype])
        for source in known[:PROTOTYPES]
    ]


def _draw_row(half: Image.Image, draw: ImageDraw.ImageDraw, found: Explanation, row: PrototypeRow, top: int) -> None:
    name = textwrap.wrap(found.title(row.source.prototype), 24)
    figures = [row.source.prototype.extractor, f"{row.share:.0%} of the votes", f"cosine {row.cosine:.3f}"]
    _write(draw, (_GAP_PX, top), [*name, *figures])
    left = _GAP_PX + _TEXT_PX
    if not row.source.places:
        _write(draw, (left, top), textwrap.wrap(row.source.missing, 60)[:6])
        return
    images = found.support[row.source.prototype.category].images
    for place in row.source.places[:TILES]:
        half.paste(draw_tile(images[place.image].image, place), (left, top))
        _write(draw, (left, top + TILE_PX), [f"image {images[place.image].number}"])
        left += TILE_PX + 4


def draw_tile(image: NDArray[np.uint8], place: SupportPlace, side_px: int = TILE_PX) -> Image.Image:
    """Return a support image, clear where it shows the place and pale elsewhere, with the place's outline."""
    size = (side_px, side_px)
    pixels = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)).astype(np.float64)
    shown = np.asarray(Image.fromarray(place.cells).resize(size, Image.Resampling.NEAREST))
    grey = 255 - (255 - pixels.mean(axis=-1, keepdims=True)) * 0.5
    pale = pixels * _FADED + grey * (1 - _FADED)
    drawn = np.where(shown[..., None], pixels, pale).round().astype(np.uint8)
    drawn[shown ^ ndimage.binary_erosion(shown, border_value=1)] = (220, 0, 90)
    return Image.fromarray(drawn)


def _write(draw: ImageDraw.ImageDraw, place: tuple[float, float], lines: Sequence[str]) -> None:
    draw.multiline_text(place, "\n".join(lines), fill="black", font=ImageFont.load_default(_SMALL_PX), spacing=3)


def _column_px(cells: Sequence[str]) -> int:
    font = ImageFont.load_default(_SMALL_PX)
    return round(max(font.getlength(cell) for cell in cells)) + 2 * _GAP_PX
