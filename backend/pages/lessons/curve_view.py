"""The learning curve of a project's lessons as a page draws it: points of a line of SVG, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ovdiff.learning.curve_points import CurvePoint

WIDTH, HEIGHT, MARGIN = 560, 220, 24
"""The size of the picture and the room around its lines, in units of its own."""


@dataclass(frozen=True)
class Mark:
    """A point of a line, in units of the picture."""

    x: float
    y: float


@dataclass(frozen=True)
class Tick:
    """A number of an axis: its text, and where it stands along the axis."""

    text: str
    at: float


@dataclass(frozen=True)
class CurveView:
    """A drawn learning curve.

    Attributes:
        points: what is drawn, for the table.
        before, after: the lines without and with lessons.
        across, up: the numbers of the axes: lessons, and shares of cells.
    """

    points: tuple[CurvePoint, ...]
    before: tuple[Mark, ...]
    after: tuple[Mark, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]

    @property
    def gain(self) -> float:
        """By how much lessons raise the share of right cells, at the last point."""
        return self.points[-1].after - self.points[-1].before


def curve_view(points: Sequence[CurvePoint]) -> CurveView | None:
    """Return how a curve is drawn; None if there are no points. Points are evenly apart, for numbers double."""
    if not points:
        return None
    values = [value for point in points for value in (point.before, point.after)]
    low, high = _floor(min(values)), 1.0
    step = (WIDTH - 2 * MARGIN) / max(1, len(points) - 1)
    columns = [MARGIN + number * step for number in range(len(points))]

    def height(value: float) -> float:
        return round(HEIGHT - MARGIN - (value - low) / (high - low) * (HEIGHT - 2 * MARGIN), 1)

    return CurveView(
        points=tuple(points),
        before=tuple(Mark(x, height(point.before)) for x, point in zip(columns, points, strict=True)),
        after=tuple(Mark(x, height(point.after)) for x, point in zip(columns, points, strict=True)),
        across=tuple(Tick(str(point.lessons), x) for x, point in zip(columns, points, strict=True)),
        up=tuple(Tick(f"{value:.0%}", height(value)) for value in (low, (low + high) / 2, high)),
    )


def _floor(value: float) -> float:
    """Return the next lower tenth, and never 1."""
    return min(0.9, int(value * 10) / 10)
