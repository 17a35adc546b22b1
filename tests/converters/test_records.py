"""Which annotation stands for an image, and what a region's polygon is good for."""

import numpy as np

from converters.encodings.coco_rle import mask_to_coco_rle
from converters.records import Annotation, ImageRecord, Region


def test_ground_truth_stands_for_an_image_then_what_changed_last() -> None:
    old, new = Annotation(1, (), updated_at="2026-01-01"), Annotation(2, (), updated_at="2026-02-01")
    truth = Annotation(3, (), ground_truth=True, updated_at="2025-01-01")
    skipped = Annotation(4, (), skipped=True, updated_at="2026-03-01")
    assert ImageRecord(1, "a", "i", annotations=(new, old, skipped)).preferred_annotation() is new
    assert ImageRecord(1, "a", "i", annotations=(old, truth, new)).preferred_annotation() is truth
    assert ImageRecord(1, "a", "i", annotations=(skipped,)).preferred_annotation() is None


def test_a_region_knows_its_size_and_pixels() -> None:
    mask = np.eye(3, 5, dtype=np.bool_)
    region = Region("r", ("x",), "b", mask_to_coco_rle(mask))
    assert region.size_hw == (3, 5)
    assert np.array_equal(region.mask(), mask)


def test_regions_of_a_label_are_those_of_the_annotation_that_counts() -> None:
    rle = mask_to_coco_rle(np.ones((2, 2), dtype=bool))
    old = Annotation(1, (Region("a", ("Boat",), "b", rle),), updated_at="2026-01-01")
    regions = Region("c", ("sky", "boat"), "b", rle), Region("d", ("sky",), "b", rle)
    record = ImageRecord(1, "a", "i", annotations=(old, Annotation(2, regions, updated_at="2026-02-01")))
    assert record.preferred_regions("BOAT") == [regions[0]]
    assert record.preferred_regions("fish") == []
    assert ImageRecord(1, "a", "i").preferred_regions("boat") == []
