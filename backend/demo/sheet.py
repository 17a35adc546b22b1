"""A contact sheet: the image, the truth and the mask of each scene side by side, and a legend of the colours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

_TILE_PX = 128
_STEP_PX = _TILE_PX + 2
_GAP_PX = 10
_TRIPLES_PER_ROW = 4
_LEGEND_COLUMNS = 8
_LEGEND_ROW_PX = 20
_BACKGROUND = "#ffffff"
_NO_LABEL_RGB = (40, 40, 40)


@dataclass(frozen=True)
class Triple:
    """An image (H, W, 3) uint8 with two label maps (H, W): 0 where there is no label, else 1 + the label's index."""

    image: NDArray[np.uint8]
    truth: NDArray[np.int32]
    mask: NDArray[np.int32]


def contact_sheet(triples: Sequence[Triple], colours: Mapping[str, str]) -> Image.Image:
    """Return the sheet; the value i + 1 of a label map has the colour of label i in ``colours``, counted from 0."""
    rows, legend_rows = ceil(len(triples) / _TRIPLES_PER_ROW), ceil(len(colours) / _LEGEND_COLUMNS)
    width = _TRIPLES_PER_ROW * (3 * _STEP_PX + _GAP_PX) - _GAP_PX
    pictures_px = rows * (_TILE_PX + _GAP_PX)
    sheet = Image.new("RGB", (width, pictures_px + legend_rows * _LEGEND_ROW_PX), _BACKGROUND)
    palette = np.array([_NO_LABEL_RGB, *map(ImageColor.getrgb, colours.values())], dtype=np.uint8)
    for number, triple in enumerate(triples):
        row, column = divmod(number, _TRIPLES_PER_ROW)
        left = column * (3 * _STEP_PX + _GAP_PX)
        for place, pixels in enumerate((triple.image, palette[triple.truth], palette[triple.mask])):
            sheet.paste(_tile(pixels), (left + place * _STEP_PX, row * (_TILE_PX + _GAP_PX)))
    _draw_legend(ImageDraw.Draw(sheet), colours, pictures_px, width // _LEGEND_COLUMNS)
    return sheet


def _tile(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels).resize((_TILE_PX, _TILE_PX), Image.Resampling.BOX)


def _draw_legend(draw: ImageDraw.ImageDraw, colours: Mapping[str, str], top: int, column_px: int) -> None:
    for number, (name, colour) in enumerate(colours.items()):
        row, column = divmod(number, _LEGEND_COLUMNS)
        x, y = column * column_px, top + row * _LEGEND_ROW_PX
        draw.rectangle((x, y + 2, x + 14, y + 16), fill=colour)
        draw.text((x + 20, y + 4), name, fill="#000000")
