"""Which prediction an annotation replaced, and what became of each of its regions."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from converters.corrections.pairs import Correction, NotCompared, RegionPair, find_corrections, pair_regions
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.errors import EvaluationError
from converters.records import Annotation, ImageRecord, Prediction, Region

SIZE_HW = (6, 8)


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SIZE_HW, dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask


LEFT, RIGHT, WIDER = box(1, 1, 4, 3), box(1, 5, 4, 7), box(1, 1, 4, 4)


def region(region_id: str, mask: np.ndarray = LEFT, label: str = "cat", **more: Any) -> Region:
    return Region(region_id, (label,), "brush", mask_to_coco_rle(mask), **more)


def outcomes(predicted: list[Region], annotated: list[Region]) -> list[tuple[str | None, str | None, str]]:
    return [
        (pair.predicted and pair.predicted.id, pair.annotated and pair.annotated.id, pair.outcome)
        for pair in pair_regions(predicted, annotated)
    ]


# ---------------------------------------------------------------- regions


def test_regions_are_accepted_changed_removed_and_added() -> None:
    predicted = [region("same"), region("grown"), region("renamed", RIGHT), region("gone", RIGHT)]
    annotated = [region("new", RIGHT), region("renamed", RIGHT, "dog"), region("grown", WIDER), region("same")]
    assert outcomes(predicted, annotated) == [
        ("same", "same", "accepted"),
        ("grown", "grown", "changed"),
        ("renamed", "renamed", "changed"),
        ("gone", "new", "accepted"),  # drawn again exactly: the person wanted it
    ]


def test_what_has_no_partner_was_removed_or_added() -> None:
    assert outcomes([region("a")], [region("b", RIGHT)]) == [("a", None, "removed"), (None, "b", "added")]
    assert outcomes([], []) == []


def test_a_region_whose_id_was_lost_is_found_by_its_origin() -> None:
    near, far = region("x", WIDER, origin="prediction-changed"), region("y", RIGHT, origin="prediction-changed")
    assert outcomes([region("a")], [far, near]) == [("a", "x", "changed"), (None, "y", "added")]
    assert outcomes([region("a")], [region("x", WIDER, origin="manual")]) == [
        ("a", None, "removed"),
        (None, "x", "added"),
    ]


def test_pixels_decide_and_not_the_origin() -> None:
    (undone,) = pair_regions([region("a")], [region("a", origin="prediction-changed")])
    (moved,) = pair_regions([region("a")], [region("a", WIDER, origin="prediction")])
    assert (undone.outcome, moved.outcome) == ("accepted", "changed")


def test_two_regions_of_one_id_find_their_own_shapes() -> None:
    twice = [region("a"), region("a", RIGHT)]
    assert [p.outcome for p in pair_regions(twice, twice[::-1])] == ["accepted", "accepted"]


def test_regions_without_ids_are_told_apart_by_shape() -> None:
    assert outcomes([region(""), region("", RIGHT)], [region("", RIGHT)]) == [
        ("", None, "removed"),
        ("", "", "accepted"),
    ]


def test_pixels_are_counted_by_hand() -> None:
    pair = RegionPair(region("a", box(0, 0, 2, 4)), region("a", box(0, 2, 2, 5)))
    assert (pair.predicted_px, pair.annotated_px, pair.shared_px) == (8, 6, 4)
    assert (pair.painted_px, pair.erased_px, pair.iou) == (2, 4, 0.4)
    removed = RegionPair(region("a"), None)
    assert (removed.painted_px, removed.erased_px, removed.iou, removed.relabelled) == (0, 6, 0.0, False)


masks = arrays(np.bool_, SIZE_HW)


@given(masks, masks)
def test_painted_and_erased_are_the_two_differences(before: np.ndarray, after: np.ndarray) -> None:
    pair = RegionPair(region("a", before), region("a", after))
    assert pair.painted_px == np.count_nonzero(after & ~before)
    assert pair.erased_px == np.count_nonzero(before & ~after)
    assert (pair.outcome == "accepted") == np.array_equal(before, after)


drawn_regions = st.lists(
    st.builds(
        region,
        st.sampled_from(["", "a", "b", "c"]),
        st.sampled_from([LEFT, RIGHT, WIDER]),
        st.sampled_from(["cat", "dog"]),
        origin=st.sampled_from([None, "manual", "prediction", "prediction-changed"]),
    ),
    max_size=5,
)


@given(drawn_regions, drawn_regions)
def test_every_region_is_in_exactly_one_pair(predicted: list[Region], annotated: list[Region]) -> None:
    pairs = pair_regions(predicted, annotated)
    assert [p.predicted for p in pairs if p.predicted is not None] == predicted
    there = [id(p.annotated) for p in pairs if p.annotated is not None]
    assert sorted(there) == sorted(map(id, annotated))


def test_regions_of_two_sizes_are_refused() -> None:
    other = Region("b", ("cat",), "brush", mask_to_coco_rle(np.ones((3, 3), dtype=np.bool_)))
    with pytest.raises(EvaluationError, match=r"expected regions of one image size .*, got \[\(3, 3\), \(6, 8\)\]"):
        pair_regions([region("a")], [other])


# ---------------------------------------------------------------- predictions


def prediction(number: int, *regions: Region, created_at: str = "") -> Prediction:
    return Prediction(number, regions, created_at=created_at)


def record(annotations: list[Annotation], *predictions: Prediction) -> ImageRecord:
    return ImageRecord(1, "a.png", "image", size_hw=SIZE_HW, annotations=tuple(annotations), predictions=predictions)


def found(annotation: Annotation, *predictions: Prediction, unlinked: bool = False) -> int | str:
    """Return the id of the prediction that is found, or the reason why there is none."""
    (item,) = find_corrections(record([annotation], *predictions), unlinked=unlinked)
    return item.reason if isinstance(item, NotCompared) else int(str(item.prediction.id))


def test_the_parent_is_the_prediction_whatever_the_ids_say() -> None:
    annotation = Annotation(1, (region("a"),), parent_prediction=5)
    assert found(annotation, prediction(5), prediction(6, region("a"))) == 5
    assert found(annotation, prediction(6, region("a"))) == "prediction that is not in the export"


def test_without_a_parent_the_ids_point_at_it_and_then_the_origin() -> None:
    by_ids = Annotation(1, (region("a"), region("b")))
    assert found(by_ids, prediction(5, region("a"), region("b")), prediction(6, region("a"))) == 5
    both = prediction(6, region("a"), created_at="2"), prediction(5, region("a"), created_at="1")
    assert found(by_ids, *both) == found(by_ids, *both[::-1]) == 6
    assert found(by_ids, prediction(5, region("a")), prediction(6, region("a"))) == 6
    by_origin = Annotation(1, (region("z", origin="prediction"),))
    assert found(by_origin, prediction(5), prediction(6)) == 6
    assert found(by_origin) == "prediction that is not in the export"


def test_a_prediction_that_was_made_after_the_annotation_is_not_what_it_corrected() -> None:
    corrected = Annotation(1, (region("a", origin="prediction"),), updated_at="2026-03-01T10:00:00Z")
    before = prediction(5, region("a"), created_at="2026-03-01T09:59:59.5Z")
    after = prediction(6, region("a"), created_at="2026-03-01T10:02:00Z")
    imported_with_it = prediction(8, region("a"), created_at="2026-03-01T10:00:00.5Z")
    assert found(corrected, before, after) == 5
    assert found(corrected, after) == "prediction that is not in the export"
    assert found(corrected, imported_with_it) == 8, "all that Label Studio imports has the time of the import"
    assert found(corrected, prediction(7, region("a"), created_at="2026-03-02T10:00:00")) == 7  # without a time zone
    assert found(replace(corrected, parent_prediction=6), before, after) == 6


def test_what_was_drawn_from_nothing_is_compared_only_where_that_is_wanted() -> None:
    fresh = Annotation(1, (region("z"),))
    assert found(fresh, prediction(5)) == "annotation made without a prediction"
    assert found(fresh, prediction(5), unlinked=True) == 5
    assert found(fresh, unlinked=True) == "annotation made without a prediction"


def test_each_annotator_is_held_against_the_same_prediction_and_skips_are_said() -> None:
    first, second = (Annotation(n, (region("a"),), annotator=n, parent_prediction=5) for n in (1, 2))
    skipped = Annotation(3, (), skipped=True, parent_prediction=5)
    items = list(find_corrections(record([first, second, skipped], prediction(5, region("a")))))
    assert [item.annotation.annotator for item in items if isinstance(item, Correction)] == [1, 2]
    assert [(i.reason, i.is_loss) for i in items if isinstance(i, NotCompared)] == [("skipped by the annotator", False)]


def test_an_image_that_nobody_annotated_is_no_loss() -> None:
    (item,) = find_corrections(record([], prediction(5)))
    assert item == NotCompared("image that nobody has annotated", record([], prediction(5)))


def test_changed_pixels_add_up() -> None:
    annotation = Annotation(1, (region("a", WIDER), region("n", RIGHT)), parent_prediction=5)
    (correction,) = find_corrections(record([annotation], prediction(5, region("a"), region("gone", box(5, 0, 6, 8)))))
    assert isinstance(correction, Correction)
    assert correction.changed_px == 3 + 6 + 8
