"""A reliability diagram: the share of right regions in each bin of scores, beside what the scores promise."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from converters.metrics.reliability import Reliability, ReliabilityBin

_SIDE_PX = 240
_LEFT_PX, _TOP_PX, _RIGHT_PX, _BOTTOM_PX = 44, 44, 16, 44
_INK, _PALE, _BAR, _PROMISED = "#202020", "#dddddd", "#5b8fc7", "#c0392b"


@dataclass(frozen=True)
class Panel:
    """One diagram with its title."""

    title: str
    reliability: Reliability


def draw_reliability(panels: Sequence[Panel]) -> Image.Image:
    """Return the panels side by side, as an RGB picture.

    A bar is as high as the share of right regions, and as dark as its bin is full, compared with the fullest bin. The
    red stroke is the mean score of the bin: where scores keep their promise it lies on the bar's upper edge.
    """
    width, height = _LEFT_PX + _SIDE_PX + _RIGHT_PX, _TOP_PX + _SIDE_PX + _BOTTOM_PX
    picture = Image.new("RGB", (width * len(panels), height), "white")
    for number, panel in enumerate(panels):
        tile = Image.new("RGB", (width, height), "white")
        _draw_panel(ImageDraw.Draw(tile), panel)
        picture.paste(tile, (number * width, 0))
    return picture


def _draw_panel(draw: ImageDraw.ImageDraw, panel: Panel) -> None:
    error = panel.reliability.acceptance_error
    ece = "no region" if error is None else f"ECE {error:.3f}, {panel.reliability.scored_regions} regions"
    draw.text((_LEFT_PX, 8), panel.title, fill=_INK, font=_font(14))
    draw.text((_LEFT_PX, 26), ece, fill=_INK, font=_font(11))
    fullest = max((each.regions for each in panel.reliability.bins), default=0)
    for each in panel.reliability.bins:
        _draw_bar(draw, each, fullest)
    draw.line([_at(0, 0), _at(1, 1)], fill=_INK)
    draw.rectangle([_at(0, 1), _at(1, 0)], outline=_INK)
    for tick in (0.0, 0.5, 1.0):
        x, y = _at(tick, 0)
        draw.text((x, y + 5), f"{tick:.1f}", fill=_INK, font=_font(11), anchor="ma")
        draw.text((_LEFT_PX - 6, _at(0, tick)[1]), f"{tick:.1f}", fill=_INK, font=_font(11), anchor="rm")
    draw.text((_LEFT_PX + _SIDE_PX / 2, _TOP_PX + _SIDE_PX + 22), "score", fill=_INK, font=_font(11), anchor="ma")


def _draw_bar(draw: ImageDraw.ImageDraw, each: ReliabilityBin, fullest: int) -> None:
    if each.accepted_share is None or each.mean_score is None:
        return
    draw.rectangle(
        [_at(each.low, each.accepted_share), _at(each.high, 0)],
        fill=_mixed(_PALE, _BAR, each.regions / fullest),
        outline=_INK,
    )
    (left, y), (right, _) = _at(each.low, each.mean_score), _at(each.high, each.mean_score)
    draw.line([(left, y), (right, y)], fill=_PROMISED, width=3)


def _at(x: float, y: float) -> tuple[int, int]:
    """Return the pixel of a point whose coordinates run from 0 to 1, y upwards."""
    return _LEFT_PX + round(x * _SIDE_PX), _TOP_PX + round((1 - y) * _SIDE_PX)


def _mixed(pale: str, full: str, share: float) -> tuple[int, int, int]:
    low, high = (tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in (pale, full))
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(low, high, strict=True))
    return red, green, blue


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)
