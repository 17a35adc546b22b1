"""A picture of a training: the loss by steps, and below it PQ and mIoU on the validation images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_WIDTH_PX, _PANEL_PX, _LEFT_PX, _GAP_PX = 720, 220, 56, 30
_LINES = 4
_SMOOTHED = 0.05
_COLOURS = {"loss": (60, 90, 170), "pq": (38, 120, 60), "miou": (200, 110, 30)}
_TITLES = {"loss": "loss", "pq": "PQ", "miou": "mIoU"}

Curve = list[tuple[float, float]]


def draw_curve(log: Sequence[Mapping[str, float]], steps: int) -> Image.Image:
    """Return the picture as RGB.

    Args:
        log: the lines of the log: each has "step", and "loss" or "pq" and "miou".
        steps: the steps of the whole training, the width of the picture.
    """
    curves = {name: [(line["step"], line[name]) for line in log if _is_number(line.get(name))] for name in _COLOURS}
    picture = Image.new("RGB", (_WIDTH_PX, 2 * _PANEL_PX + 3 * _GAP_PX), "white")
    draw = ImageDraw.Draw(picture)
    losses = [loss for _, loss in curves["loss"]]
    _draw_panel(draw, _GAP_PX, {"loss": _smoothed(curves["loss"], steps)}, steps, _ceiling(losses))
    _draw_panel(draw, 2 * _GAP_PX + _PANEL_PX, {name: curves[name] for name in ("pq", "miou")}, steps, 1.0)
    return picture


def _draw_panel(draw: ImageDraw.ImageDraw, top: int, curves: Mapping[str, Curve], steps: int, most: float) -> None:
    font = ImageFont.load_default(12)
    right, bottom = _WIDTH_PX - _GAP_PX, top + _PANEL_PX
    for line in range(_LINES + 1):
        height = bottom - line * _PANEL_PX // _LINES
        draw.line((_LEFT_PX, height, right, height), fill=(225, 225, 225))
        draw.text((_LEFT_PX - 6, height), f"{most * line / _LINES:.3g}", fill="grey", font=font, anchor="rm")
    draw.text((right, bottom + 4), f"step {steps}", fill="grey", font=font, anchor="ra")
    for place, (name, curve) in enumerate(curves.items()):
        points = [
            (_LEFT_PX + x / max(1, steps) * (right - _LEFT_PX), bottom - min(y / most, 1.0) * _PANEL_PX)
            for x, y in curve
        ]
        if len(points) > 1:
            draw.line(points, fill=_COLOURS[name], width=2)
        for x, y in points if name != "loss" or len(points) == 1 else ():
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=_COLOURS[name])
        last = f"{_TITLES[name]} {curve[-1][1]:.3f}" if curve else f"{_TITLES[name]}: none"
        draw.text((_LEFT_PX + 140 * place, top - 18), last, fill=_COLOURS[name], font=font)


def _smoothed(curve: Curve, steps: int) -> Curve:
    """Return a curve as its running mean, over a twentieth of the training."""
    width = max(1, round(_SMOOTHED * len(curve)))
    values = np.array([value for _, value in curve])
    sums = np.concatenate([[0.0], values.cumsum()])
    first = [max(0, place + 1 - width) for place in range(len(curve))]
    return [
        (step, float((sums[place + 1] - sums[begin]) / (place + 1 - begin)))
        for place, ((step, _), begin) in enumerate(zip(curve, first, strict=True))
    ]


def _ceiling(values: Sequence[float]) -> float:
    """Return a round number above nearly all values: the first steps of a training may be far above the others."""
    if not values:
        return 1.0
    high = float(np.percentile(values, 95)) or 1.0
    power = 10.0 ** math.floor(math.log10(high))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= high)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
