"""Colours of categories: a colour that follows from the category's name, and PASCAL VOC's palette for indexed PNGs."""

import colorsys
import hashlib

RGB = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""


def colour_of(name: str) -> str:
    """Return a strong colour for a name as "#rrggbb"; a name always gets the same colour."""
    return hex_of(rgb_of(name))


def rgb_of(name: str) -> RGB:
    """Return the colour of `colour_of` as numbers from 0 to 255."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    hue, saturation = digest[0] / 256, 0.6 + digest[1] / 256 * 0.35
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, 0.95 - digest[2] / 256 * 0.25)
    return int(red * 255), int(green * 255), int(blue * 255)


def hex_of(rgb: RGB) -> str:
    """Return a colour as "#rrggbb"."""
    red, green, blue = rgb
    return f"#{red:02x}{green:02x}{blue:02x}"


def voc_palette() -> list[RGB]:
    """Return PASCAL VOC's 256 colours: 0 black, 1 (128, 0, 0), 2 (0, 128, 0), ..., 255 (224, 224, 192).

    The bits of a colour's number go to red, green and blue in turn, the lowest bit first. Each channel is filled from
    its highest bit down (VOCdevkit, VOClabelcolormap.m).
    """
    return [_voc_colour(number) for number in range(256)]


def _voc_colour(number: int) -> RGB:
    red, green, blue = (
        sum((number >> (3 * step + channel) & 1) << (7 - step) for step in range(3)) for channel in range(3)
    )
    return red, green, blue
