"""The running sums: outcomes and pixels of regions, one point a version, and the worst corrections."""

import numpy as np
import pytest

from converters.corrections.pairs import Correction, find_corrections
from converters.corrections.result import PixelCounts, RegionCounts
from converters.corrections.sums import RegionSums, VersionSums, WorstCorrections, median_of
from converters.records import Region
from tests.fakes.corrections import box, corrected, region

LEFT, WIDER, RIGHT = box(0, 0, 6, 3), box(0, 0, 6, 4), box(0, 5, 6, 8)


def correction(before: list[Region], after: list[Region], **more: object) -> Correction:
    (item,) = find_corrections(corrected(before, after, **more))
    assert isinstance(item, Correction)
    return item


def test_regions_are_counted_by_outcome_and_their_pixels_by_what_was_done_to_them() -> None:
    sums = RegionSums()
    before = [region("same", LEFT), region("wider", LEFT), region("renamed", LEFT), region("gone", RIGHT)]
    after = [
        region("same", LEFT),
        region("wider", WIDER),
        region("renamed", LEFT, "dog"),
        region("new", box(0, 4, 2, 5)),
    ]
    for pair in correction(before, after).pairs:
        sums.add(pair)
    assert sums.regions() == RegionCounts(accepted=1, changed=2, relabelled=1, added=1, removed=1, accepted_share=1 / 4)
    annotated_px = 18 + 24 + 18 + 2
    assert sums.pixels() == PixelCounts(
        painted_px=6 + 2, erased_px=18, annotated_px=annotated_px, changed_share=26 / annotated_px
    )


def test_shares_of_nothing_are_not_known() -> None:
    assert RegionSums().regions().accepted_share is None
    assert RegionSums().pixels().changed_share is None
    assert median_of([]) is None and median_of([1.0, 5.0, 2.0]) == 2.0


def test_a_version_is_measured_over_all_its_images() -> None:
    sums = VersionSums(category_count=2)
    for created_at, took_s in (("2026-02-01", [10.0]), ("2026-01-01", [30.0]), ("", [])):
        sums.add(correction([], [], created_at=created_at), took_s)
    sums.add_pixels(np.array([[5, 0, 0], [0, 3, 0], [0, 1, 0]]))
    sums.add_pixels(np.array([[5, 0, 0], [0, 0, 0], [0, 0, 0]]))
    report = sums.report("v1")
    assert (report.model_version, report.first_seen, report.corrections) == ("v1", "2026-01-01", 3)
    assert report.mean_iou == pytest.approx((10 / 10 + 3 / 4 + 0 / 1) / 3)
    assert report.median_seconds == 20.0


def test_versions_without_a_time_sort_behind_the_others() -> None:
    known, unknown = VersionSums(1), VersionSums(1)
    known.add(correction([], [], created_at="2026-01-01"), [])
    unknown.add(correction([], []), [])
    assert known.order < unknown.order and unknown.report("x").mean_iou is None


def test_only_the_worst_are_kept() -> None:
    few, many = correction([], [region("a", LEFT)]), correction([], [region("a", WIDER)])
    for size, expected in ((0, []), (2, [(0.5, many), (0.5, few)]), (9, [(0.5, many), (0.5, few), (0.9, few)])):
        worst = WorstCorrections(size)
        for iou, item in ((0.9, few), (0.5, few), (1.0, many), (float("nan"), many), (0.5, many)):
            worst.add(iou, item)
        assert worst.found() == expected
