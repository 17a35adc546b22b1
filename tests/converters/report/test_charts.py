"""Charts: well-formed SVG with every number in it, whatever the labels are called."""

from collections.abc import Callable
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.report.charts import (
    Bar,
    Series,
    StackedBar,
    bar_chart,
    dense_matrix_chart,
    line_chart,
    matrix_chart,
    reliability_chart,
    stacked_bar_chart,
)

NASTY = '<script>alert("x")</script> & \u202e\x00'
names = st.text(st.characters(codec=None), max_size=40)
shares = st.none() | st.floats(0, 1)


def bars(label: str) -> str:
    rows = [Bar(label, 0.5, 0.25), Bar("none", None)]
    return bar_chart(rows, title=label, description="d", value_name="IoU", marker_name="boundary IoU")


def stacked(label: str) -> str:
    rows = [StackedBar(label, {"accepted": 3, "removed": 1}, "+ 2 added"), StackedBar("none", {"accepted": 0})]
    return stacked_bar_chart(rows, title=label, description="d")


def matrix(label: str) -> str:
    return matrix_chart([label, "b"], [[3, 1], [0, 0]], title=label, description="d")


def reliability(label: str) -> str:
    return reliability_chart([(0.5, 0.25, 0.75, 4)], title=label, description="d", x_name=label, y_name="y")


def lines(label: str) -> str:
    series = [Series("mean IoU", "c-iou", (0.5, None, 0.75))]
    return line_chart([label, "two", "three"], series, title=label, description="d")


CHARTS = [bars, stacked, matrix, reliability, lines]


def titles(svg: Element) -> list[str]:
    return [element.text or "" for element in svg.iter("title")]


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("label", ["cat", NASTY])
def test_charts_are_well_formed_and_say_what_they_show(chart: Callable[[str], str], label: str) -> None:
    svg = fromstring(chart(label))
    assert svg.get("role") == "img"
    assert (svg.get("aria-label") or "").endswith(". d")
    assert not list(svg.iter("script"))
    assert titles(svg), "marks say their numbers"


@given(names, st.lists(st.tuples(names, shares, shares), max_size=4))
def test_any_label_and_number_make_a_well_formed_chart(title: str, rows: list[tuple[str, float, float]]) -> None:
    svg = bar_chart([Bar(*row) for row in rows], title=title, description="", value_name="v", marker_name="m")
    assert len(list(fromstring(svg).iter("g"))) == len(rows)


def test_bars_are_as_long_as_their_numbers() -> None:
    full, half = fromstring(
        bar_chart([Bar("a", 1.0), Bar("b", 0.5)], title="", description="", value_name="IoU", marker_name="m")
    ).iter("rect")
    assert float(full.get("width", 0)) == 2 * float(half.get("width", 0)) > 0


def test_numbers_are_there_for_those_who_point_at_a_mark() -> None:
    assert titles(fromstring(bars("cat")))[:1] == ["cat: IoU 0.500, boundary IoU 0.250"]
    assert "cat: 3 accepted, 1 removed; + 2 added" in titles(fromstring(stacked("cat")))
    assert "cat predicted as b: 1 px, 25.0 % of its row" in titles(fromstring(matrix("cat")))
    assert "4 regions: x 0.50, y 0.25, accepted 75.0 %" in titles(fromstring(reliability("x")))
    assert titles(fromstring(lines("one")))[-1] == "three: mean IoU 0.750"


def test_stacked_bars_fill_the_width_whatever_their_counts() -> None:
    parts = [float(r.get("width", 0)) for r in fromstring(stacked("cat")).iter("rect")]
    assert parts[0] == pytest.approx(3 * parts[1], abs=0.3)


def test_a_cell_of_little_is_not_nothing_and_of_nearly_all_not_everything() -> None:
    svg = matrix_chart(["a", "b"], [[9999, 1], [0, 5]], title="", description="")
    texts = [element.text for element in fromstring(svg).iter("text")]
    assert "<0.1" in texts
    assert "100" in texts
    assert ">99.9" in texts


def test_empty_charts_are_drawn_too() -> None:
    fromstring(matrix_chart([], [], title="", description=""))
    fromstring(line_chart([], [], title="", description=""))
    fromstring(reliability_chart([], title="", description="", x_name="", y_name=""))


def test_a_dense_matrix_leaves_out_what_nobody_sees_and_says_the_rest() -> None:
    svg = fromstring(dense_matrix_chart(["a", NASTY], [[990, 9], [5, 15]], title="t", description="d"))
    said = [title for title in titles(svg) if "predicted as" in title]
    assert said[0] == "a predicted as a: 99.1 % of its row"
    assert len(said) == 3, "9 of 999 pixels are below one percent"
    assert [rect.get("class") for rect in svg.iter("rect")] == ["empty", "c-accepted", "c-removed", "c-accepted"]


def test_a_dense_matrix_of_many_labels_stays_readable() -> None:
    count = 171
    pixels = [[int(row == column) for column in range(count)] for row in range(count)]
    chart = dense_matrix_chart([f"class {number}" for number in range(count)], pixels, title="t", description="d")
    svg = fromstring(chart)
    assert len([element for element in svg.iter("text") if element.get("class", "").startswith("label")]) == 2 * count
    width = float((svg.get("viewBox") or "").split()[2])
    assert f"min-width: {width:g}px" in (svg.get("style") or ""), "it is scrolled, and not made small"
    assert len(chart) < 200_000
