"""The upper line on masks that are known, in the place of SAM's."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.metrics.panoptic_quality import SegmentMap
from ovdiff.bank import Bank
from ovdiff.baselines.preset import SamPreset
from ovdiff.baselines.sam import SamMasks
from ovdiff.engines import load_any_preset
from ovdiff.errors import EvaluationError, PresetError
from ovdiff.evaluation.dataset import LabelledImage, TrueObject, Truth
from ovdiff.evaluation.run import Protocol, evaluate_image
from ovdiff.evaluation.sums import totals_of
from ovdiff.evaluation.upper_line import (
    DrawnRegions,
    SeesTruth,
    UpperLine,
    box_xyxy,
    deepest_xy,
    load_upper_line,
    make_evaluated,
    true_regions,
)
from tests.fakes.coloured_dataset import VOCABULARY, Squares


class FilledBoxes:
    """Fills boxes, and paints the pixel of a point alone."""

    def for_boxes(self, image: NDArray[np.uint8], boxes: NDArray[Any]) -> SamMasks:
        masks = np.zeros((len(boxes), *image.shape[:2]), dtype=np.bool_)
        for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
            mask[top:bottom, left:right] = True
        return SamMasks(masks, np.linspace(0.9, 0.5, len(boxes), dtype=np.float32))

    def for_points(self, image: NDArray[np.uint8], points: NDArray[Any]) -> SamMasks:
        return self.for_boxes(image, np.concatenate([points, points + 1], axis=1))


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> UpperLine:
    """An upper line that fills boxes."""
    monkeypatch.setattr(UpperLine, "_line", FilledBoxes())
    return UpperLine(SamPreset())


def test_masks_of_boxes_are_held_against_the_truth_by_every_figure(line: UpperLine) -> None:
    """The truth is squares, so filled boxes are right."""
    dataset = Squares()()
    figures = [evaluate_image(line, dataset, image, 0, Protocol()) for image in dataset.images]
    found = totals_of(figures, VOCABULARY.categories).measures
    assert (found.miou, found.pq, found.ap, found.boundary_iou) == pytest.approx((1.0, 1.0, 1.0, 1.0))
    of_points = UpperLine(SamPreset(prompts="points"))
    figures = [evaluate_image(of_points, dataset, image, 0, Protocol()) for image in dataset.images]
    miou = totals_of(figures, VOCABULARY.categories).measures.miou
    assert miou is not None and miou < 0.5, "a pixel of each square"


def test_an_image_without_regions_is_background(line: UpperLine) -> None:
    empty = LabelledImage(np.zeros((4, 5, 3), dtype=np.uint8), Truth(np.zeros((4, 5), dtype=np.int32)))
    for preset in (SamPreset(), SamPreset(fills=True)):
        of_preset = UpperLine(preset)
        found = of_preset.label(of_preset.encode_labelled(empty), VOCABULARY)
        assert not found.label_map.any() and found.label_map.shape == (4, 5)


def test_the_smaller_of_two_masks_is_on_top_and_the_nearest_one_fills() -> None:
    masks = np.zeros((2, 1, 6), dtype=np.bool_)
    masks[0, :, 1:2], masks[1, :, 0:4] = True, True
    encoded = DrawnRegions((3, 1), masks, np.array([0.2, 0.8], dtype=np.float32))
    found = UpperLine(SamPreset()).label(encoded, VOCABULARY)
    assert found.label_map.tolist() == [[1, 3, 1, 1, 0, 0]]
    assert found.scores[0] == pytest.approx([0.8, 0.2, 0.8, 0.8, 0, 0])
    assert [(each.index, int(each.mask.sum())) for each in found.objects()] == [(2, 1), (0, 3)]
    filled = UpperLine(SamPreset().without_background()).label(encoded, VOCABULARY)
    assert filled.label_map.tolist() == [[1, 3, 1, 1, 1, 1]]


def test_things_are_detected_the_surest_first_and_may_overlap(line: UpperLine) -> None:
    masks = np.ones((3, 2, 2), dtype=np.bool_)
    masks[2] = False
    encoded = DrawnRegions((1, 2, 3), masks, np.array([0.2, 0.8, 0.9], dtype=np.float32))
    found = line.detections(encoded, VOCABULARY)
    assert [(each.index, round(each.score, 1), int(each.mask.sum())) for each in found] == [(1, 0.8, 4), (0, 0.2, 4)]
    stuff = [replace(category, kind="stuff") for category in VOCABULARY.categories]
    assert line.detections(encoded, replace(VOCABULARY, categories=tuple(stuff))) == []


def test_regions_are_segments_or_objects_or_connected_pixels_of_one_label() -> None:
    labels = np.array([[1, 1, 0, 1], [2, 0, 0, 1], [2, 2, -1, 0]], dtype=np.int32)
    regions = true_regions(Truth(labels))
    assert [(label, int(mask.sum())) for label, mask in regions] == [(1, 2), (1, 2), (2, 3)]
    first = np.zeros(labels.shape, dtype=np.bool_)
    first[0, :2] = True
    objects = (TrueObject(1, first), TrueObject(1, labels == 1, is_crowd=True), TrueObject(2, first & False))
    with_objects = true_regions(Truth(labels, objects=objects))
    assert [(label, int(mask.sum())) for label, mask in with_objects] == [(1, 2), (1, 2), (2, 3)]
    segments = SegmentMap(np.where(labels == 1, 2, 0), (3, 1))
    assert [(label, int(mask.sum())) for label, mask in true_regions(Truth(labels, segments))] == [(1, 4)]


def test_a_box_ends_behind_its_last_pixel_and_a_point_is_deepest_inside() -> None:
    mask = np.zeros((6, 9), dtype=np.bool_)
    mask[1:4, 2:8] = True
    mask[4, 2] = True
    assert box_xyxy(mask) == (2, 1, 8, 5)
    x, y = deepest_xy(mask)
    assert y == 2 and 3 <= x <= 6
    assert deepest_xy(np.ones((3, 3), dtype=np.bool_)) == (1, 1), "the image's edge is one of the mask"


def test_what_sees_the_truth_is_told_apart_and_cannot_segment(line: UpperLine, tmp_path: Path) -> None:
    assert isinstance(line, SeesTruth) and line.given == "the truth's boxes"
    assert not isinstance(make_evaluated(load_any_preset("naclip_tinyworld"), Bank(tmp_path), "cpu"), SeesTruth)
    assert isinstance(make_evaluated(SamPreset(), Bank(tmp_path), "cpu"), UpperLine)
    with pytest.raises(EvaluationError, match="'sam' is given the truth's boxes, so it can be evaluated and not used"):
        line.segment(np.zeros((4, 4, 3), dtype=np.uint8), VOCABULARY)


def test_upper_lines_have_names_or_files(tmp_path: Path) -> None:
    assert load_upper_line("sam") == SamPreset()
    assert load_upper_line("sam-points").prompts == "points"
    (tmp_path / "large.toml").write_text('[models.sam]\nsource = "facebook/sam-vit-huge"\n')
    large = load_upper_line(str(tmp_path / "large.toml"))
    assert (large.name, large.models.sam.source, large.models.sam.revision) == ("large", "facebook/sam-vit-huge", "")
    assert large.fingerprint() != SamPreset().fingerprint()
    (tmp_path / "wrong.toml").write_text('prompts = "masks"\n')
    with pytest.raises(PresetError, match="prompts is 'masks'"):
        load_upper_line(str(tmp_path / "wrong.toml"))
    (tmp_path / "clip.toml").write_text('base = "naclip"\n')
    with pytest.raises(PresetError, match=r"is a preset of the engine 'clip_dense'\. Evaluate it with --preset"):
        load_upper_line(str(tmp_path / "clip.toml"))
    with pytest.raises(PresetError, match=r"No upper line 'tinyworld'\. Known: sam, sam-points"):
        load_upper_line("tinyworld")
