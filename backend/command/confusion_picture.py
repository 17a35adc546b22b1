"""A picture of a forecast's confusion matrix: a row for what is shown, a column for what is found there."""

from __future__ import annotations

from math import ceil

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ovdiff.forecasting.forecast import Forecast

_CELL_PX, _GAP_PX, _LINE_PX = 34, 10, 16
_LEAST_WRITTEN = 0.005  # A share that would read 0 % is left out, so that those that matter are seen.
_RIGHT, _WRONG = (38, 120, 60), (200, 50, 40)
_DARK_FROM = 0.55


def draw_confusion(forecast: Forecast) -> Image.Image:
    """Return the picture as RGB: percent of the row's pixels that become the column's category.

    The row's own category is green, others are red, and the darker the larger the share.
    """
    rows, columns = forecast.tried(), ("background", *forecast.tried())
    name_px = max(ceil(_font().getlength(name)) for name in columns) + _GAP_PX
    left, top = name_px + _GAP_PX, name_px + 2 * _LINE_PX + _GAP_PX
    title = "Held-out support images: percent of the row's pixels that become the column's category"
    width = max(left + len(columns) * _CELL_PX + _GAP_PX, ceil(_font().getlength(title)) + 2 * _GAP_PX)
    picture = Image.new("RGB", (width, top + len(rows) * _CELL_PX + _GAP_PX), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((_GAP_PX, _GAP_PX), title, fill="black", font=_font())
    for column, name in enumerate(columns):
        picture.paste(_upright(name, name_px), (left + column * _CELL_PX + (_CELL_PX - _LINE_PX) // 2, top - name_px))
    for row, name in enumerate(rows):
        y = top + row * _CELL_PX
        draw.text((left - _GAP_PX // 2, y + _CELL_PX // 2), name, fill="black", font=_font(), anchor="rm")
        for column in range(len(columns)):
            share = float(forecast.confusion[row, column])
            colour = _RIGHT if column == row + 1 else _WRONG
            _draw_cell(draw, left + column * _CELL_PX, y, share, colour)
    return picture


def _draw_cell(draw: ImageDraw.ImageDraw, x: int, y: int, share: float, colour: tuple[int, int, int]) -> None:
    strength = np.sqrt(share)  # Small shares are what a person looks for.
    red, green, blue = (round(255 - (255 - channel) * strength) for channel in colour)
    draw.rectangle((x, y, x + _CELL_PX - 2, y + _CELL_PX - 2), fill=(red, green, blue), outline=(225, 225, 225))
    if share >= _LEAST_WRITTEN:
        ink = "white" if strength > _DARK_FROM else "black"
        middle = (x + _CELL_PX // 2, y + _CELL_PX // 2)
        draw.text(middle, f"{100 * share:.0f}", fill=ink, font=_font(), anchor="mm")


def _upright(text: str, length_px: int) -> Image.Image:
    """Return a line of text that reads from bottom to top."""
    line = Image.new("RGB", (length_px, _LINE_PX), "white")
    ImageDraw.Draw(line).text((2, 0), text, fill="black", font=_font())
    return line.transpose(Image.Transpose.ROTATE_90)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(12)
