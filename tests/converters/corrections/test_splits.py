"""Splits and merges of boxes that can be counted by hand."""

from converters.corrections.pairs import pair_regions
from converters.corrections.splits import Regrouping, find_regroupings
from converters.records import Region
from tests.fakes.corrections import box, region

WHOLE, LEFT, RIGHT = box(0, 0, 6, 8), box(0, 0, 6, 3), box(0, 4, 6, 8)


def found(before: list[Region], after: list[Region]) -> tuple[Regrouping, ...]:
    return find_regroupings(pair_regions(before, after))


def test_one_that_became_two_is_a_split_and_two_that_became_one_a_merge() -> None:
    one, two = [region("a", WHOLE)], [region("a", LEFT), region("b", RIGHT)]
    (split,) = found(one, two)
    assert split.is_split and split.labels == ("cat",)
    assert ([r.id for r in split.predicted], [r.id for r in split.annotated]) == (["a"], ["a", "b"])
    (merge,) = found(two, one)
    assert not merge.is_split and len(merge.predicted) == 2


def test_ids_do_not_matter() -> None:
    (split,) = found([region("a", WHOLE)], [region("x", LEFT), region("y", RIGHT)])
    assert split.is_split


def test_a_region_of_another_label_inside_is_no_part() -> None:
    assert found([region("a", WHOLE)], [region("a", RIGHT), region("b", LEFT, "dog")]) == ()


def test_a_part_lies_mostly_inside_and_parts_are_most_of_the_whole() -> None:
    assert found([region("a", LEFT)], [region("a", LEFT), region("b", RIGHT)]) == ()  # accepted
    half_out = region("b", box(0, 2, 6, 4))  # two columns, one of them in LEFT
    assert found([region("a", LEFT)], [region("a", box(0, 0, 6, 2)), half_out]) == ()
    specks = [region("a", box(0, 0, 1, 1)), region("b", box(2, 2, 3, 3))]
    assert found([region("a", WHOLE)], specks) == ()


def test_an_accepted_region_belongs_to_no_merge() -> None:
    assert found([region("a", WHOLE), region("b", LEFT)], [region("a", WHOLE)]) == ()


def test_a_region_without_a_label_is_left_alone() -> None:
    nameless = [Region(name, (), "brush", region(name, mask).rle) for name, mask in (("a", LEFT), ("b", RIGHT))]
    assert found([Region("w", (), "brush", region("w", WHOLE).rle)], nameless) == ()
