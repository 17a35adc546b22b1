import math
from dataclasses import astuple, replace

import numpy as np
import pytest

from ovdiff.presets.segmenting_settings import RegionScoreWeights, ScoreSettings
from ovdiff.region_scores import RegionEvidence, RegionScoring, probability
from ovdiff.segmentation import NOTHING_FOUND, PartEvidence, Segmentation


def _segmentation() -> Segmentation:
    labels = np.array([[0, 1], [1, 2]], dtype=np.int32)
    scores = np.array([[0.2, 0.4], [0.8, 1.0]], dtype=np.float32)
    return Segmentation(labels, scores, scores / 2)


def test_mask_index_zero_is_the_first_category() -> None:
    np.testing.assert_array_equal(_segmentation().mask(0), [[False, True], [True, False]])


def test_negative_index_is_refused() -> None:
    with pytest.raises(IndexError, match="-1 is negative"):
        _segmentation().mask(-1)


def test_scores_are_means_and_zero_for_an_absent_category() -> None:
    found = _segmentation()
    assert found.category_score(0) == pytest.approx(0.6)
    assert found.category_score(7) == 0.0
    assert found.image_score() == pytest.approx(0.6)


def test_only_categories_that_have_a_pixel_are_found() -> None:
    labels = np.array([[3, 0], [0, 1]], dtype=np.int32)
    found = list(Segmentation(labels, labels.astype(np.float32), labels.astype(np.float32)).found())
    assert [index for index, _ in found] == [0, 2]
    np.testing.assert_array_equal([mask for _, mask in found], [[[0, 0], [0, 1]], [[1, 0], [0, 0]]])
    assert list(Segmentation(labels * 0, np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32)).found()) == []


def test_objects_have_their_category_their_pixels_and_their_own_score() -> None:
    labels = np.array([[1, 1, 0, 1], [2, 2, 0, 1]], dtype=np.int32)
    ids = np.array([[1, 1, 0, 2], [3, 3, 0, 0]], dtype=np.int32)  # the pixel in the corner is too small for an object
    scores = np.array([[0.2, 0.4, 0.9, 0.8], [0.5, 0.7, 0.9, 0.0]], dtype=np.float32)
    found = list(Segmentation(labels, scores, scores, ids).objects())
    assert [(each.index, each.mask.sum()) for each in found] == [(0, 2), (0, 1), (1, 2)]
    assert [each.score for each in found] == pytest.approx([0.3, 0.8, 0.6])
    np.testing.assert_array_equal(found[1].mask, ids == 2)


def test_pixels_that_lost_their_label_are_in_no_object() -> None:
    """As when parts below a label's smallest area are taken away."""
    labels, scores = np.array([[0, 1, 0]], dtype=np.int32), np.ones((1, 3), dtype=np.float32)
    found = list(Segmentation(labels, scores, scores, np.array([[1, 1, 2]], dtype=np.int32)).objects())
    assert [(each.index, each.mask.tolist()) for each in found] == [(0, [[False, True, False]])]


def test_where_objects_were_not_told_apart_each_category_is_one() -> None:
    segmentation = _segmentation()
    assert [(each.index, each.score) for each in segmentation.objects()] == [
        (index, segmentation.category_score(index)) for index, _ in segmentation.found()
    ]


WEIGHTS = RegionScoreWeights(intercept=1.0, cosine=2.0, margin=3.0, log_area=4.0, log_presence=5.0, log_share=6.0)
CALIBRATED = RegionScoring(
    ScoreSettings("calibrated", WEIGHTS, RegionScoreWeights(0.7)), ("boat", "sky"), frozenset([1])
)


def _calibrated() -> Segmentation:
    return replace(_segmentation(), presence=(0.5, 0.1), scoring=CALIBRATED)


def test_the_evidence_for_a_region_is_of_its_own_pixels_and_of_its_word() -> None:
    found = _calibrated()
    expected = RegionEvidence(0.6, 0.3, math.log(0.5), math.log(0.5), math.log(0.5))
    assert astuple(found.evidence(0, found.mask(0))[0]) == pytest.approx(astuple(expected))
    unseen = replace(found, presence=()).evidence(0, found.mask(0))[0]
    assert unseen.log_presence == unseen.log_share == 0


def test_where_clip_looked_at_the_parts_of_a_region_it_is_evidence_too() -> None:
    def part(left: float, area: float, became: str | None, share: float) -> PartEvidence:
        return PartEvidence((left, 0.0, left + 0.25, 1.0), area, "boat", became, (("car", 0.0), ("boat", share)))

    labels = np.array([[1, 0, 1, 1]], dtype=np.int32)
    scores = np.ones(labels.shape, dtype=np.float32)
    parts = (part(0, 0.1, "boat", 0.5), part(0.5, 0.3, "boat", 0.1), part(0.75, 0.1, None, 0.9))
    found = Segmentation(labels, scores, scores, parts=parts, presence=(0.2, 0.1), scoring=CALIBRATED)
    whole = 0.25 * math.log(0.5) + 0.75 * math.log(0.1)
    assert found.evidence(0, labels)[0].log_share == pytest.approx(whole)
    apart = [each.log_share for each in found.evidence(0, np.array([[1, 0, 2, 3]]))]
    assert apart == pytest.approx(
        [math.log(0.5), math.log(0.1), math.log(0.2)]
    )  # of the last part nothing became a boat
    assert found.evidence(1, labels)[0].log_share == pytest.approx(math.log(0.1))


def test_a_calibrated_score_is_the_probability_by_the_weights_of_its_kind() -> None:
    found = _calibrated()
    expected = probability(WEIGHTS, RegionEvidence(0.6, 0.3, *[math.log(0.5)] * 3))
    assert found.category_score(0) == found.region_score(0, found.mask(0)) == pytest.approx(expected, abs=1e-6)
    assert found.category_score(1) == pytest.approx(1 / (1 + math.exp(-0.7)))
    assert found.category_score(7) == 0.0


def test_several_regions_of_a_category_are_scored_each_by_its_own_pixels() -> None:
    found, numbers = _calibrated(), np.array([[0, 2], [1, 0]])
    assert found.region_scores(0, numbers) == pytest.approx([
        found.region_score(0, numbers == 1), found.region_score(0, numbers == 2)
    ])  # fmt: skip
    assert found.region_scores(0, numbers)[0] > found.region_scores(0, numbers)[1]
    assert found.region_scores(0, numbers * 0) == []


def test_an_object_has_a_calibrated_score_too() -> None:
    found = replace(_calibrated(), instance_map=np.array([[0, 1], [2, 3]], dtype=np.int32))
    assert [each.score for each in found.objects()] == pytest.approx([
        *found.region_scores(0, np.array([[0, 1], [2, 0]])), found.category_score(1)
    ])  # fmt: skip


def test_the_score_of_an_image_is_the_share_of_its_regions_that_is_expected_to_be_right() -> None:
    found = _calibrated()
    assert found.image_score() == pytest.approx((found.category_score(0) + found.category_score(1)) / 2)
    assert replace(found, label_map=found.label_map * 0).image_score() == NOTHING_FOUND
    as_before = RegionScoring(ScoreSettings("mean_cosine", WEIGHTS, WEIGHTS), ("boat", "sky"), frozenset())
    assert replace(found, scoring=as_before).image_score() == pytest.approx(0.6)


@pytest.mark.parametrize("scoring", [None, _calibrated().scoring])
def test_all_categories_are_scored_at_once_as_one_by_one(scoring: RegionScoring | None) -> None:
    rng = np.random.default_rng(3)
    size = (900, 300)  # several bands of rows
    label_map = np.zeros(size, np.int32)
    label_map[850:, 200:] = 1
    label_map[100:500, :50] = 2
    scores, margins = (rng.random(size, dtype=np.float32) for _ in range(2))
    parts = (PartEvidence((0.6, 0.9, 1.0, 1.0), 0.05, "boat", "boat", (("boat", 0.7),)),)
    presence = (0.4, 0.2) if scoring else ()
    found = Segmentation(label_map, scores, margins, parts=parts, presence=presence, scoring=scoring)
    assert found.category_scores() == {index: found.category_score(index) for index in (0, 1)}
    of_boat = np.clip(scores[label_map == 1].astype(np.float64), 0, 1).mean()
    assert found.evidence(0, label_map == 1)[0].cosine == pytest.approx(of_boat)
