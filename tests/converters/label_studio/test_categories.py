"""Categories of a label config."""

import pytest

from converters.errors import LabelConfigError, RecordError
from converters.label_studio.categories import categories_of
from converters.label_studio.label_config import LabelConfig, parse_label_config
from converters.records import DatasetCategory


def config(brush: str, polygon: str = "") -> LabelConfig:
    return parse_label_config(
        f'<View><Image name="i" value="$image"/><BrushLabels name="b" toName="i">{brush}</BrushLabels>'
        f'<PolygonLabels name="p" toName="i">{polygon}</PolygonLabels>'
        '<Choices name="c" toName="i"><Choice value="good"/></Choices></View>'
    )


def pairs(categories: tuple[DatasetCategory, ...]) -> list[tuple[int, str]]:
    return [(category.id, category.name) for category in categories]


def test_ids_follow_the_order_of_the_config() -> None:
    labels = '<Label value="zebra"/><Label value="ant"/>'
    assert pairs(categories_of(config(labels))) == [(1, "zebra"), (2, "ant")]


def test_a_word_of_two_controls_is_one_category() -> None:
    both = config('<Label value="cat"/>', '<Label value="dog"/><Label value="cat"/>')
    assert pairs(categories_of(both)) == [(1, "cat"), (2, "dog")]
    assert pairs(categories_of(both, controls=["p"])) == [(1, "dog"), (2, "cat")]


def test_category_attributes_are_obeyed_and_the_others_take_what_is_free() -> None:
    labels = '<Label value="a"/><Label value="b" category="1"/><Label value="c"/><Label value="d" category="9"/>'
    assert pairs(categories_of(config(labels))) == [(2, "a"), (1, "b"), (3, "c"), (9, "d")]
    assert pairs(categories_of(config('<Label value="a"/>', '<Label value="a" category="4"/>'))) == [(4, "a")]


def test_an_id_may_be_0_as_in_label_studios_own_coco_files() -> None:
    assert pairs(categories_of(config('<Label value="a" category="0"/><Label value="b"/>'))) == [(0, "a"), (1, "b")]


def test_a_label_may_say_that_it_is_stuff() -> None:
    both = config('<Label value="sky" kind="Stuff"/><Label value="cat"/>', '<Label value="sky"/>')
    assert [category.kind for category in categories_of(both)] == ["stuff", None]


@pytest.mark.parametrize(
    ("brush", "polygon", "message"),
    [
        ('<Label value="a" category="-1"/>', "", "expected category= of the label 'a' to be a whole number from 0"),
        ('<Label value="a" category="9999999999999999"/>', "", "to be a whole number from 0"),
        ('<Label value="a" kind="animal"/>', "", "expected kind= of the label 'a' to be thing or stuff, got 'animal'"),
        ('<Label value="a" category="x"/>', "", "got 'x'"),
        ('<Label value="a" category="²"/>', "", "got '²'"),
        (
            '<Label value="a" category="2"/><Label value="b" category="2"/>',
            "",
            r"expected category= to differ from label to label, got \[2, 2\]",
        ),
        (
            '<Label value="a" category="2"/>',
            '<Label value="a" category="3"/>',
            "expected one category= for the label 'a', got 2 and 3",
        ),
    ],
)
def test_impossible_ids_are_refused(brush: str, polygon: str, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        categories_of(config(brush, polygon))


def test_an_unknown_control_is_refused() -> None:
    with pytest.raises(LabelConfigError, match=r"one of \['b', 'p', 'c'\], got 'x'"):
        categories_of(config(""), controls=["x"])
