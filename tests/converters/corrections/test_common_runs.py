"""Two label maps as common runs: what is counted by runs is what is counted by pixels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from converters.corrections.common_runs import common_runs
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.encodings.overlaps import LabelledRegion, LabelRuns, regions_to_label_runs
from converters.metrics.confusion import confusion_matrix
from converters.metrics.panoptic_quality import SegmentMap, match_segments

SIZE_HW = (4, 5)
CATEGORIES = (1, 2, 1)
masks = st.lists(arrays(np.bool_, SIZE_HW), max_size=3)


def runs_of(drawn: list[np.ndarray]) -> LabelRuns:
    return regions_to_label_runs([LabelledRegion(mask_to_coco_rle(m), i) for i, m in enumerate(drawn, 1)], SIZE_HW)


@given(masks, masks)
def test_runs_count_what_pixels_count(first: list[np.ndarray], second: list[np.ndarray]) -> None:
    both = runs_of(first), runs_of(second)
    runs = common_runs(*both)
    by_runs = [SegmentMap(labels, CATEGORIES) for labels in (runs.first, runs.second)]
    by_pixels = [SegmentMap(one.label_map(), CATEGORIES) for one in both]
    assert np.array_equal(
        confusion_matrix(by_runs[0].label_map(), by_runs[1].label_map(), 2, runs.lengths),
        confusion_matrix(by_pixels[0].label_map(), by_pixels[1].label_map(), 2),
    )
    ours, theirs = match_segments(*by_runs, 2, lengths=runs.lengths), match_segments(*by_pixels, 2)
    for name in ("true_positives", "false_positives", "false_negatives", "iou_sum"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name


@given(masks, masks)
def test_the_box_holds_all_regions_and_its_pixels_are_those_of_the_maps(
    first: list[np.ndarray], second: list[np.ndarray]
) -> None:
    both = runs_of(first), runs_of(second)
    runs = common_runs(*both)
    rows, columns = runs.box()
    whole = [one.label_map() for one in both]
    assert np.array_equal(runs.in_box(runs.first, (rows, columns)), whole[0][rows, columns])
    assert np.array_equal(runs.in_box(runs.second, (rows, columns)), whole[1][rows, columns])
    outside = (whole[0] > 0) | (whole[1] > 0)
    outside[rows, columns] = False
    assert not outside.any()
