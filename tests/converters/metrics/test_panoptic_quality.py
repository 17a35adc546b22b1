"""Panoptic quality held against torchmetrics, and cases counted by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torchmetrics.functional.detection import panoptic_quality as their_panoptic_quality

from converters.errors import EvaluationError
from converters.metrics.panoptic_quality import SegmentMap, SegmentMatches, match_segments

_CATEGORIES = 3
_BACKGROUND, _VOID = 7, 99  # for theirs: background is one more category, and what it does not know is void

segment_maps = st.tuples(
    arrays(np.int64, (5, 6), elements=st.integers(0, 4)), st.tuples(*[st.integers(1, _CATEGORIES)] * 4)
).map(lambda drawn: SegmentMap(*drawn))
voids = arrays(np.bool_, (5, 6), elements=st.sampled_from([False, False, False, True]))


def coarse(segments: SegmentMap) -> SegmentMap:
    """Blow the segments up: of single random pixels hardly any ever match."""
    return SegmentMap(segments.ids.repeat(2, axis=0).repeat(3, axis=1), segments.categories)


def theirs(truth: SegmentMap, predicted: SegmentMap, void: np.ndarray) -> np.ndarray:
    """Return torchmetrics' (n, 3) array of PQ, SQ and RQ."""

    def colours(segments: SegmentMap) -> np.ndarray:
        categories = np.array((_BACKGROUND, *segments.categories))[segments.ids]
        return np.stack((categories, segments.ids), axis=-1)

    target = colours(truth)
    target[void] = (_VOID, 0)
    things = set(range(1, _CATEGORIES + 1))
    answer = their_panoptic_quality(
        torch.from_numpy(colours(predicted))[None],
        torch.from_numpy(target)[None],
        things=things | {_BACKGROUND},
        stuffs={1000},
        allow_unknown_preds_category=True,
        return_sq_and_rq=True,
        return_per_class=True,
    )
    return answer.numpy()[:_CATEGORIES]


@settings(max_examples=60)
@given(segment_maps, segment_maps, voids, st.sampled_from([0.0, 0.7, 0.9]))
def test_qualities_are_those_of_torchmetrics(
    truth: SegmentMap, predicted: SegmentMap, void: np.ndarray, kept: float
) -> None:
    rows = int(kept * len(truth.ids))  # a prediction that is right in part, so that something matches
    predicted = SegmentMap(
        np.concatenate((truth.ids[:rows], predicted.ids[rows:])), truth.categories if rows else predicted.categories
    )
    matches = match_segments(truth, predicted, _CATEGORIES, void)
    ours = np.stack((matches.panoptic_quality, matches.segmentation_quality, matches.recognition_quality), axis=1)
    assert np.allclose(np.nan_to_num(ours), theirs(truth, predicted, void))  # theirs is 0 where nothing is


@given(segment_maps, segment_maps)
def test_quality_is_the_product_of_its_parts(truth: SegmentMap, predicted: SegmentMap) -> None:
    matches = match_segments(coarse(truth), coarse(predicted), _CATEGORIES)
    parts = matches.segmentation_quality * matches.recognition_quality
    assert np.allclose(matches.panoptic_quality, parts, equal_nan=True)


def row(*ids: int) -> np.ndarray:
    return np.array([ids])


def test_a_match_a_miss_and_a_false_alarm_are_counted_by_category() -> None:
    truth = SegmentMap(row(1, 1, 1, 1, 2, 2, 0, 0), (1, 2))
    predicted = SegmentMap(row(1, 1, 1, 0, 0, 0, 2, 2), (1, 2))
    matches = match_segments(truth, predicted, 2)
    assert matches.true_positives.tolist() == [1, 0]
    assert matches.false_positives.tolist() == [0, 1]
    assert matches.false_negatives.tolist() == [0, 1]
    assert matches.panoptic_quality.tolist() == [0.75, 0.0]
    assert matches.segmentation_quality.tolist() == [0.75, 0.0]
    assert matches.recognition_quality.tolist() == [1.0, 0.0]


def test_half_is_no_match() -> None:
    half = match_segments(SegmentMap(row(1, 1), (1,)), SegmentMap(row(1, 0), (1,)), 1)
    assert (half.true_positives[0], half.false_positives[0], half.false_negatives[0]) == (0, 1, 1)


def test_one_place_two_categories_is_two_mistakes() -> None:
    matches = match_segments(SegmentMap(row(1, 1), (1,)), SegmentMap(row(1, 1), (2,)), 2)
    assert matches.false_negatives.tolist() == [1, 0]
    assert matches.false_positives.tolist() == [0, 1]


def test_void_pixels_count_nowhere() -> None:
    truth = SegmentMap(row(1, 1, 0, 0, 0, 0), (1,))
    predicted = SegmentMap(row(1, 1, 1, 1, 0, 2), (1, 1))
    void = row(0, 0, 1, 1, 0, 1) > 0
    matches = match_segments(truth, predicted, 1, void)
    assert (matches.true_positives[0], matches.false_positives[0]) == (1, 0)
    assert matches.panoptic_quality[0] == 1.0


def by_the_published_loops(
    truth: SegmentMap, predicted: SegmentMap, void: np.ndarray, crowds: set[int]
) -> dict[str, list[float]]:
    """Return counts of each category as panopticapi's evaluation finds them, segment by segment."""
    counts = {kind: [0.0] * _CATEGORIES for kind in ("tp", "fp", "fn", "iou")}
    found: set[int] = set()
    met: set[int] = set()
    for t, true_category in enumerate(truth.categories, 1):
        for g, given_category in enumerate(predicted.categories, 1):
            ours, theirs = (truth.ids == t) & ~void, predicted.ids == g
            shared = np.count_nonzero(ours & theirs)
            if t in crowds or true_category != given_category or not shared:
                continue
            union = np.count_nonzero(theirs) + np.count_nonzero(ours) - shared - np.count_nonzero(theirs & void)
            if shared / union > 0.5:
                counts["tp"][true_category - 1] += 1
                counts["iou"][true_category - 1] += shared / union
                met.add(t)
                found.add(g)
    for t, category in enumerate(truth.categories, 1):
        if t not in met and t not in crowds and ((truth.ids == t) & ~void).any():
            counts["fn"][category - 1] += 1
    for g, category in enumerate(predicted.categories, 1):
        theirs = predicted.ids == g
        if g in found or not theirs.any():
            continue
        forgiven = np.count_nonzero(theirs & void)
        for t in crowds:
            if truth.categories[t - 1] == category:
                forgiven += np.count_nonzero(theirs & (truth.ids == t) & ~void)
        if forgiven / np.count_nonzero(theirs) <= 0.5:
            counts["fp"][category - 1] += 1
    return counts


@settings(max_examples=100)
@given(segment_maps, segment_maps, voids, st.sets(st.integers(1, 4)), st.sampled_from([0.0, 0.7, 0.9]))
def test_crowds_are_neither_matched_nor_missed_as_published(
    truth: SegmentMap, predicted: SegmentMap, void: np.ndarray, crowds: set[int], kept: float
) -> None:
    rows = int(kept * len(truth.ids))
    predicted = SegmentMap(
        np.concatenate((truth.ids[:rows], predicted.ids[rows:])), truth.categories if rows else predicted.categories
    )
    ours = match_segments(truth, predicted, _CATEGORIES, void, crowds=crowds)
    theirs = by_the_published_loops(truth, predicted, void, crowds)
    assert ours.true_positives.tolist() == theirs["tp"]
    assert ours.false_positives.tolist() == theirs["fp"]
    assert ours.false_negatives.tolist() == theirs["fn"]
    np.testing.assert_allclose(ours.iou_sum, theirs["iou"])


def test_images_add_up_before_they_are_divided() -> None:
    hit = match_segments(SegmentMap(row(1), (1,)), SegmentMap(row(1), (1,)), 1)
    miss = match_segments(SegmentMap(row(1), (1,)), SegmentMap(row(0), ()), 1)
    assert (hit + miss).panoptic_quality.tolist() == [pytest.approx(2 / 3)]
    assert np.isnan(SegmentMatches.none(1).panoptic_quality[0])


def test_more_pairs_than_pixels_take_no_more_room() -> None:
    many = SegmentMap(np.arange(1, 301)[None], (1,) * 300)
    assert match_segments(many, many, 1).true_positives.tolist() == [300]


def test_segments_know_their_label_map() -> None:
    assert SegmentMap(row(0, 2, 1), (5, 3)).label_map().tolist() == [[0, 3, 5]]


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        (SegmentMap(row(1), (1,)), SegmentMap(row(1, 1), (1,)), r"expected segments .* of one shape, got \[\(1, 1\)"),
        (SegmentMap(row(2), (1,)), SegmentMap(row(1), (1,)), "expected segment ids from 0 to 1, .* got 2 to 2"),
        (SegmentMap(row(1), (1,)), SegmentMap(row(1), (4,)), "expected categories from 1 to 2, got 4"),
    ],
)
def test_what_cannot_be_compared_is_refused(truth: SegmentMap, predicted: SegmentMap, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        match_segments(truth, predicted, 2)
