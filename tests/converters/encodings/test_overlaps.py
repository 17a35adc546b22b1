"""Overlapping masks made one label map by the stated rule, and the count of what it decided."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from converters.encodings.coco_rle import mask_to_coco_rle
from converters.encodings.overlaps import (
    RULE,
    LabelledMask,
    LabelledRegion,
    masks_to_label_map,
    regions_to_label_map,
)
from converters.errors import MaskError
from converters.report.text import DEFINITIONS

SIZE_HW = (4, 5)
labelled = st.tuples(arrays(np.bool_, SIZE_HW), st.integers(1, 3), st.none() | st.sampled_from([0.2, 0.7]))


def row(*columns: int) -> np.ndarray:
    return np.isin(np.arange(6), columns)[None]


def test_contested_pixels_go_to_the_higher_score_then_the_smaller_then_the_earlier() -> None:
    flat = masks_to_label_map(
        [
            LabelledMask(row(0, 1, 2), 1, score=0.5),
            LabelledMask(row(2, 3), 2, score=0.9),
            LabelledMask(row(1), 3, score=0.5),
            LabelledMask(row(1), 4, score=0.5),
            LabelledMask(row(3), 5),
        ],
        (1, 6),
    )
    assert flat.label_map.tolist() == [[1, 3, 2, 5, 0, 0]]
    assert flat.contested_px == 3


def test_what_a_person_drew_wins_over_any_score_however_large_it_is() -> None:
    drawn, predicted = LabelledMask(row(0, 1, 2, 3), 1), LabelledMask(row(1), 2, score=1.0)
    for masks in ([drawn, predicted], [predicted, drawn]):
        assert masks_to_label_map(masks, (1, 6)).label_map.tolist() == [[1, 1, 1, 1, 0, 0]]


def test_the_page_on_corrections_and_the_report_tell_the_rule_as_it_is() -> None:
    page = (Path(__file__).parents[3] / "docs/corrections.md").read_text("utf-8")
    assert RULE in " ".join(page.split())
    assert any(RULE in meaning for _, meaning in DEFINITIONS)


def test_two_masks_of_one_label_do_not_contest() -> None:
    assert masks_to_label_map([LabelledMask(row(0, 1), 1), LabelledMask(row(1, 2), 1)], (1, 6)).contested_px == 0


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(MaskError, match=r"expected a mask of shape \(1, 5\), got \(1, 6\)"):
        masks_to_label_map([LabelledMask(row(0), 1)], (1, 5))


def test_a_mask_of_which_nothing_is_left_is_named() -> None:
    masks = [
        LabelledMask(row(0, 1, 2), 1, score=0.9),
        LabelledMask(row(1), 2, score=0.8),
        LabelledMask(row(1, 2), 1, score=0.7),
    ]
    assert masks_to_label_map(masks, (1, 6)).hidden == (1,)


@given(st.lists(labelled, max_size=5))
def test_run_lengths_are_flattened_as_masks_are(drawn: list[tuple[np.ndarray, int, float | None]]) -> None:
    masks = [LabelledMask(*item) for item in drawn]
    regions = [LabelledRegion(mask_to_coco_rle(mask), label, score) for mask, label, score in drawn]
    ours, theirs = regions_to_label_map(regions, SIZE_HW), masks_to_label_map(masks, SIZE_HW)
    assert np.array_equal(ours.label_map, theirs.label_map)
    assert (ours.contested_px, ours.hidden) == (theirs.contested_px, theirs.hidden)


@given(st.lists(labelled, max_size=5))
def test_every_pixel_of_a_mask_gets_a_label_that_claimed_it(
    drawn: list[tuple[np.ndarray, int, float | None]],
) -> None:
    flat = masks_to_label_map([LabelledMask(*item) for item in drawn], SIZE_HW)
    claims = [
        np.any([m for m, n, _ in drawn if n == label] or [np.zeros(SIZE_HW, bool)], axis=0) for label in (1, 2, 3)
    ]
    assert np.array_equal(flat.label_map > 0, np.any(claims, axis=0))
    assert all((claims[label - 1] | (flat.label_map != label)).all() for label in (1, 2, 3))
    assert flat.contested_px == (np.sum(claims, axis=0) > 1).sum()
