"""A sheet of a support set: each column shows an image, its attribution, its foreground and its background.

Images that a person left out are pale and grey.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ovdiff.bank.support import SupportImage, SupportSet

COLUMNS = 8  # further images go below: 32 images in one row would be too small on any screen
TILE_PX = 144
_GAP_PX = 4
_MARGIN_PX = 84  # for the names of the rows
_LINE_PX = 15
_FADED = 0.12  # what is left of the pixels outside a mask
_REJECTED = 0.35  # what is left of an image that a person left out
_HEAT_SHARE = 0.65  # of the map over the image
_RAMP = np.array([(0, 0, 40), (90, 20, 130), (210, 50, 80), (255, 150, 20), (255, 250, 160)])
"""The colours of attribution 0, 1/4, 1/2, 3/4 and 1. Brighter is more, so that the map can be read in grey too."""


def draw_support_sheet(support: SupportSet, title: str, captions: Sequence[str]) -> Image.Image:
    """Return the sheet as an RGB picture.

    Args:
        support: the support set, of at least one image.
        title: the lines at the top of the sheet.
        captions: the lines above each image; one caption for each of the `shown_images`.
    """
    shown, rejected = shown_images(support), {id(item) for item in support.rejected}
    columns, bands = min(COLUMNS, len(shown)), ceil(len(shown) / COLUMNS)
    head_px, caption_px = _text_px([title]), _text_px(captions)
    band_px = caption_px + len(_ROWS) * (TILE_PX + _GAP_PX) + 2 * _GAP_PX
    width = max(_MARGIN_PX + columns * (TILE_PX + _GAP_PX), _text_width_px(title) + 2 * _GAP_PX)
    sheet = Image.new("RGB", (width, head_px + bands * band_px), "white")
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((_GAP_PX, _GAP_PX), title, fill="black", font=_font())
    for band in range(bands):
        _draw_row_names(draw, head_px + band * band_px + caption_px)
    for number, (item, caption) in enumerate(zip(shown, captions, strict=True)):
        band, column = divmod(number, COLUMNS)
        left, top = _MARGIN_PX + column * (TILE_PX + _GAP_PX), head_px + band * band_px
        draw.multiline_text((left, top + _GAP_PX), caption, fill="black", font=_font())
        for row, pixels_of in enumerate(_ROWS.values()):
            pixels = _greyed(pixels_of(item)) if id(item) in rejected else pixels_of(item)
            sheet.paste(_tile(pixels), (left, top + caption_px + row * (TILE_PX + _GAP_PX)))
    return sheet


def shown_images(support: SupportSet) -> tuple[SupportImage, ...]:
    """Return the images of a sheet in the order of their numbers, those that a person left out included."""
    return tuple(sorted([*support.images, *support.rejected], key=lambda item: item.number))


def heat_map(image: NDArray[np.uint8], attribution: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) in grey with its attribution map (H, W), in [0, 1], over it: (H, W, 3) uint8."""
    places = np.linspace(0, 1, len(_RAMP))
    heat = np.stack([np.interp(attribution, places, channel) for channel in _RAMP.T], axis=-1)
    grey = image.mean(axis=-1, keepdims=True)
    return (heat * _HEAT_SHARE + grey * (1 - _HEAT_SHARE)).round().astype(np.uint8)


def cut_out(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) whose pixels outside a mask (H, W) are nearly white."""
    share = np.where(mask, 1.0, _FADED)[..., None]
    return (255 - (255.0 - image) * share).round().astype(np.uint8)


_ROWS: Mapping[str, Callable[[SupportImage], NDArray[np.uint8]]] = {
    "image": lambda item: item.image,
    "attribution": lambda item: heat_map(item.image, item.attribution),
    "foreground": lambda item: cut_out(item.image, item.foreground),
    "background": lambda item: cut_out(item.image, item.background),
}


def _draw_row_names(draw: ImageDraw.ImageDraw, top: int) -> None:
    for row, name in enumerate(_ROWS):
        draw.text((_GAP_PX, top + row * (TILE_PX + _GAP_PX) + TILE_PX // 2), name, fill="black", font=_font())


def _greyed(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the pale grey picture of an image that is left out."""
    grey = pixels.mean(axis=-1, keepdims=True)
    return np.broadcast_to(255 - (255 - grey) * _REJECTED, pixels.shape).round().astype(np.uint8)


def _tile(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels).resize((TILE_PX, TILE_PX), Image.Resampling.BOX)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(12)


def _text_px(texts: Sequence[str]) -> int:
    return max(text.count("\n") + 1 for text in texts) * _LINE_PX + 2 * _GAP_PX


def _text_width_px(text: str) -> int:
    return max(ceil(_font().getlength(line)) for line in text.splitlines())
