"""Charts as inline SVG: bars, stacked bars, matrices, a reliability diagram, lines. No script, no font, no address.

Colours are CSS classes (`c-iou`, `c-accepted`, ...), for which the page's style sheet has a light and a dark colour.
Each chart has a title and a description for readers who do not see it. A single mark shows its numbers when a pointer
is over it. All text is escaped here. Lengths are SVG units, which pages show as pixels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from converters.report.markup import escape_html, shorten

_LABEL_WIDTH = 200
_PLOT_WIDTH = 470
_RIGHT_WIDTH = 110
_ROW_HEIGHT = 28
_TOP = 30
_LABEL_LENGTH = 24
_CELL = 40
_SMALL_CELL = 12
_SMALLEST_SHARE = 0.01  # of a row: a paler cell is not seen, and a page of all of them takes long to open
_SIDE = 300
_LINE_HEIGHT = 220


@dataclass(frozen=True)
class Bar:
    """One bar from 0 to `value` (0..1), and a stroke at `marker` (0..1); None if there is no number to show."""

    label: str
    value: float | None
    marker: float | None = None


@dataclass(frozen=True)
class StackedBar:
    """One bar of parts laid end to end: the counts by name, and a note to the right of the bar."""

    label: str
    parts: dict[str, int]
    note: str = ""


@dataclass(frozen=True)
class Series:
    """One line: its name, its CSS class, and a value 0..1 for each x, None for a gap in the line."""

    name: str
    css: str
    values: tuple[float | None, ...]


def bar_chart(bars: Sequence[Bar], *, title: str, description: str, value_name: str, marker_name: str) -> str:
    """Draw horizontal bars from 0 to 1, one in each row."""
    height = _TOP + _ROW_HEIGHT * len(bars) + 6
    parts = [_axis_above(height)]
    for row, bar in enumerate(bars):
        y = _TOP + row * _ROW_HEIGHT
        numbers = f"{bar.label}: {value_name} {_share(bar.value)}, {marker_name} {_share(bar.marker)}"
        marks = [_row_label(bar.label, y)]
        if bar.value is not None:
            marks.append(_rect(_LABEL_WIDTH, y + 6, bar.value * _PLOT_WIDTH, 16, "c-iou"))
        if bar.marker is not None:
            x = _LABEL_WIDTH + bar.marker * _PLOT_WIDTH
            marks.append(_line(x, y + 3, x, y + 25, "marker"))
        right = f"{_share(bar.value)} · {_share(bar.marker)}"
        marks.append(_text(_LABEL_WIDTH + _PLOT_WIDTH + 12, y + 19, right, "number"))
        parts.append(_group(marks, numbers))
    return _svg(_LABEL_WIDTH + _PLOT_WIDTH + _RIGHT_WIDTH, height, title, description, parts)


def stacked_bar_chart(bars: Sequence[StackedBar], *, title: str, description: str) -> str:
    """Draw horizontal bars of counts, each as wide as the chart; a part called `name` has the CSS class c-name."""
    height = 8 + _ROW_HEIGHT * len(bars) + 6
    parts = []
    for row, bar in enumerate(bars):
        y = 8 + row * _ROW_HEIGHT
        total = sum(bar.parts.values())
        x = float(_LABEL_WIDTH)
        marks = [_row_label(bar.label, y)]
        for name, count in bar.parts.items():
            width = _PLOT_WIDTH * count / total if total else 0.0
            if width:
                marks.append(_rect(x, y + 4, width, 20, f"c-{name} part"))
                inside = str(count) if width > 9 * len(str(count)) + 6 else ""
                marks.append(_text(x + width / 2, y + 19, inside, f"on-{name} centre"))
            x += width
        marks.append(_text(_LABEL_WIDTH + _PLOT_WIDTH + 12, y + 19, bar.note, "number"))
        counts = ", ".join(f"{count} {name}" for name, count in bar.parts.items())
        parts.append(_group(marks, f"{bar.label}: {counts}; {bar.note}"))
    return _svg(_LABEL_WIDTH + _PLOT_WIDTH + _RIGHT_WIDTH, height, title, description, parts)


def matrix_chart(labels: Sequence[str], pixels: Sequence[Sequence[int]], *, title: str, description: str) -> str:
    """Draw a confusion matrix: a row for each true label, a column for each given label, in percent of a row."""
    top = 130
    size = _CELL * len(labels)
    parts = [
        _text(_LABEL_WIDTH + size / 2, 16, "predicted as", "axis centre"),
        _text(4, top - 10, "annotated as", "axis"),
    ]
    for column, label in enumerate(labels):
        x = _LABEL_WIDTH + column * _CELL + _CELL / 2
        short = escape_html(shorten(label, 16))
        parts.append(
            f'<text class="label" transform="translate({_n(x + 4)} {top - 8}) rotate(-55)">{short}'
            f"<title>{escape_html(label)}</title></text>"
        )
    for row, (label, counts) in enumerate(zip(labels, pixels, strict=True)):
        y = top + row * _CELL
        parts.append(_row_label(label, y + (_CELL - _ROW_HEIGHT) / 2))
        total = sum(counts)
        for column, count in enumerate(counts):
            share = count / total if total else 0.0
            numbers = f"{label} predicted as {labels[column]}: {count} px, {_percent(share)} of its row"
            parts.append(_group(_cell(_LABEL_WIDTH + column * _CELL, y, share, count, row == column), numbers))
    return _svg(_LABEL_WIDTH + size + 70, top + size + 6, title, description, parts)


def dense_matrix_chart(labels: Sequence[str], pixels: Sequence[Sequence[int]], *, title: str, description: str) -> str:
    """Draw a confusion matrix of many labels: small cells, stronger with their share of a row, without numbers.

    A cell of less than 1 % of its row is left out. A pointer over a cell shows its labels and its share.
    """
    top = 130
    size = _SMALL_CELL * len(labels)
    parts = [
        _rect(_LABEL_WIDTH, top, size, size, "empty"),
        _text(_LABEL_WIDTH, 12, "predicted as", "axis"),
        _text(4, top - 10, "annotated as", "axis"),
    ]
    for place, label in enumerate(labels):
        at = place * _SMALL_CELL
        short, whole = escape_html(shorten(label, _LABEL_LENGTH)), f"<title>{escape_html(label)}</title>"
        turned = f"translate({_n(_LABEL_WIDTH + at + 9)} {top - 6}) rotate(-90)"
        parts.append(f'<text class="label dense" transform="{turned}">{escape_html(shorten(label, 16))}{whole}</text>')
        parts.append(
            f'<text class="label right dense" x="{_LABEL_WIDTH - 6}" y="{_n(top + at + 9)}">{short}{whole}</text>'
        )
    for row, counts in enumerate(pixels):
        total = sum(counts)
        for column, count in enumerate(counts):
            if total and count >= _SMALLEST_SHARE * total:
                x, y = _LABEL_WIDTH + column * _SMALL_CELL, top + row * _SMALL_CELL
                numbers = f"{labels[row]} predicted as {labels[column]}: {_percent(count / total)} of its row"
                parts.append(_group([_dense_cell(x, y, count / total, row == column)], numbers))
    return _svg(_LABEL_WIDTH + size + 10, top + size + 6, title, description, parts, least=1)


def reliability_chart(
    points: Sequence[tuple[float, float, float, int]],
    *,
    title: str,
    description: str,
    x_name: str,
    y_name: str,
    counted: tuple[str, str] = ("regions", "accepted"),
) -> str:
    """Draw points (x, y, second y, count) in a 0..1 square with its diagonal.

    A disc at (x, y) has an area that grows with the count; a hollow square stands at (x, second y). ``counted`` says
    what is counted, and what the second y is the share of.
    """
    left, top = 56, 14
    most = max((count for *_, count in points), default=1)
    parts = [_square_axes(left, top, x_name, y_name), _line(left, top + _SIDE, left + _SIDE, top, "diagonal")]
    for x, y, second, count in points:
        at_x, at_y, at_second = left + x * _SIDE, top + (1 - y) * _SIDE, top + (1 - second) * _SIDE
        radius = 4 + 10 * (count / most) ** 0.5
        marks = [
            f'<circle class="c-iou dot" cx="{_n(at_x)}" cy="{_n(at_y)}" r="{_n(radius)}"/>',
            f'<rect class="hollow" x="{_n(at_x - 4)}" y="{_n(at_second - 4)}" width="8" height="8"/>',
        ]
        words = f"{count} {counted[0]}: {x_name} {x:.2f}, {y_name} {y:.2f}, {counted[1]} {_percent(second)}"
        parts.append(_group(marks, words))
    return _svg(left + _SIDE + 20, top + _SIDE + 50, title, description, parts)


def line_chart(names: Sequence[str], series: Sequence[Series], *, title: str, description: str) -> str:
    """Draw lines over named steps, with values 0..1; a missing value leaves a gap in its line."""
    left, top = 56, 14
    step = max(56.0, min(150.0, 640 / max(len(names), 1)))
    width = step * max(len(names), 1)
    parts = [_line_axes(left, top, width)]
    for position, name in enumerate(names):
        x = left + step * (position + 0.5)
        parts.append(
            f'<text class="label" transform="translate({_n(x - 4)} {top + _LINE_HEIGHT + 14}) rotate(35)">'
            f"{escape_html(shorten(name, 16))}<title>{escape_html(name)}</title></text>"
        )
    for line in series:
        points = [
            (left + step * (position + 0.5), top + (1 - value) * _LINE_HEIGHT, value, names[position])
            for position, value in enumerate(line.values)
            if value is not None
        ]
        path = " ".join(f"{_n(x)},{_n(y)}" for x, y, *_ in points)
        parts.append(f'<polyline class="line {line.css}" points="{path}"/>')
        for x, y, value, name in points:
            mark = f'<circle class="dot {line.css}" cx="{_n(x)}" cy="{_n(y)}" r="5"/>'
            parts.append(_group([mark], f"{name}: {line.name} {value:.3f}"))
    return _svg(left + width + 90, top + _LINE_HEIGHT + 110, title, description, parts)


# ---------------------------------------------------------------- pieces


def _svg(width: float, height: float, title: str, description: str, parts: Iterable[str], least: float = 2 / 3) -> str:
    """Return a chart; on a narrow page it shrinks down to the share ``least`` of its size, and then it is scrolled."""
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {_n(width)} {_n(height)}" '
        f'style="max-width: {_n(width)}px; min-width: {_n(width * least)}px" '
        f'aria-label="{escape_html(f"{title}. {description}")}">{"".join(parts)}</svg>'
    )


def _axis_above(height: float) -> str:
    marks = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = _LABEL_WIDTH + share * _PLOT_WIDTH
        marks += [_line(x, 22, x, height - 4, "grid"), _text(x, 15, f"{share:g}", "axis centre")]
    return "".join(marks)


def _square_axes(left: float, top: float, x_name: str, y_name: str) -> str:
    marks = _level_lines(left, top, _SIDE, _SIDE)
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = left + share * _SIDE
        marks += [_line(x, top, x, top + _SIDE, "grid"), _text(x, top + _SIDE + 18, f"{share:g}", "axis centre")]
    marks.append(_text(left + _SIDE / 2, top + _SIDE + 40, x_name, "axis centre"))
    middle = top + _SIDE / 2
    marks.append(
        f'<text class="axis centre" transform="translate(14 {_n(middle)}) rotate(-90)">{escape_html(y_name)}</text>'
    )
    return "".join(marks)


def _line_axes(left: float, top: float, width: float) -> str:
    return "".join(_level_lines(left, top, width, _LINE_HEIGHT))


def _level_lines(left: float, top: float, width: float, height: float) -> list[str]:
    levels = [(share, top + (1 - share) * height) for share in (0, 0.25, 0.5, 0.75, 1)]
    lines = [_line(left, y, left + width, y, "grid") for _, y in levels]
    return lines + [_text(left - 8, y + 4, f"{share:g}", "axis right") for share, y in levels]


def _cell(x: float, y: float, share: float, count: int, is_right: bool) -> list[str]:
    css = "c-accepted" if is_right else "c-removed"
    marks = [_rect(x + 1, y + 1, _CELL - 2, _CELL - 2, "empty")]
    if count:
        opacity = 0.1 + 0.5 * share  # never so strong that the number on it cannot be read
        rect = _rect(x + 1, y + 1, _CELL - 2, _CELL - 2, css)
        marks.append(rect.replace("/>", f' fill-opacity="{opacity:.2f}"/>'))
        marks.append(_text(x + _CELL / 2, y + _CELL / 2 + 4, _cell_percent(share), "label centre small"))
    return marks


def _dense_cell(x: float, y: float, share: float, is_right: bool) -> str:
    rect = _rect(x, y, _SMALL_CELL - 1, _SMALL_CELL - 1, "c-accepted" if is_right else "c-removed")
    return rect.replace("/>", f' fill-opacity="{0.15 + 0.85 * share:.2f}"/>')


def _cell_percent(share: float) -> str:
    """Return a share as percent in few characters; a small share is not rounded to 0, a large share not to 100."""
    percent = share * 100
    if 0 < percent < 0.1:
        return "<0.1"
    if 99.9 < percent < 100:
        return ">99.9"
    return f"{percent:.1f}" if 0 < percent < 10 else f"{percent:.0f}"


def _row_label(label: str, y: float) -> str:
    short = escape_html(shorten(label, _LABEL_LENGTH))
    return (
        f'<text class="label right" x="{_LABEL_WIDTH - 10}" y="{_n(y + 19)}">{short}'
        f"<title>{escape_html(label)}</title></text>"
    )


def _group(marks: Iterable[str], numbers: str) -> str:
    return f"<g><title>{escape_html(numbers)}</title>{''.join(marks)}</g>"


def _rect(x: float, y: float, width: float, height: float, css: str) -> str:
    return f'<rect class="{css}" x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line class="{css}" x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}"/>'


def _text(x: float, y: float, text: str, css: str) -> str:
    return f'<text class="{css}" x="{_n(x)}" y="{_n(y)}">{escape_html(text)}</text>' if text else ""


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
