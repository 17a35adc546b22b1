"""COCO's average precision of masks, held against torchmetrics' and cases counted by hand."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics.detection import MeanAveragePrecision

from converters.encodings.coco_rle import mask_to_coco_rle
from ovdiff.evaluation.average_precision import Masks, average_precision
from ovdiff.evaluation.figures import FoundMask

SIZE_HW = (24, 30)


def box(row: int, column: int, side: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE_HW, dtype=np.bool_)
    mask[row : row + side, column : column + side] = True
    return mask


def found(label: int, mask: NDArray[np.bool_], score: float = 1.0, *, crowd: bool = False) -> FoundMask:
    return FoundMask(label, str(mask_to_coco_rle(mask)["counts"]), score, crowd)


def drawn() -> tuple[list[Masks], list[tuple[list[NDArray[np.bool_]], ...]], list[tuple[list[int], ...]]]:
    """Return images of boxes that were found somewhat displaced, as masks of ours and as arrays for torchmetrics.

    No IoU is a threshold of AP, where the two libraries round differently.
    """
    rng = np.random.default_rng(11)
    images, arrays, labels = [], [], []
    for _ in range(12):
        true = [box(int(r), int(c), 10) for r, c in zip(rng.integers(0, 14, 3), rng.integers(0, 20, 3), strict=True)]
        given = [np.roll(mask, int(rng.integers(-2, 3)), axis=1) for mask in true[: rng.integers(1, 4)]]
        true_labels = rng.integers(1, 3, len(true)).tolist()
        given_labels = [label if rng.random() < 0.8 else 3 - label for label in true_labels[: len(given)]]
        scores = rng.random(len(given)).round(3).tolist()
        ours = [found(*row) for row in zip(given_labels, given, scores, strict=True)]
        images.append((SIZE_HW, [found(*row) for row in zip(true_labels, true, strict=True)], ours))
        arrays.append((true, given))
        labels.append((true_labels, given_labels, scores))
    return images, arrays, labels


def test_average_precision_is_that_of_torchmetrics() -> None:
    images, arrays, labels = drawn()
    theirs = MeanAveragePrecision(iou_type="segm", class_metrics=True)
    for (true, given), (true_labels, given_labels, scores) in zip(arrays, labels, strict=True):
        predicted = {
            "masks": torch.from_numpy(np.stack(given)),
            "scores": torch.tensor(scores),
            "labels": torch.tensor(given_labels),
        }
        target = {"masks": torch.from_numpy(np.stack(true)), "labels": torch.tensor(true_labels)}
        theirs.update([predicted], [target])
    expected, ours = theirs.compute(), average_precision(images)
    assert ours.ap == pytest.approx(float(expected["map"]), abs=1e-6)
    assert ours.ap50 == pytest.approx(float(expected["map_50"]), abs=1e-6)
    assert ours.ap75 == pytest.approx(float(expected["map_75"]), abs=1e-6)
    assert ours.by_label == pytest.approx(dict(zip((1, 2), expected["map_per_class"].tolist(), strict=True)), abs=1e-6)
    assert ours.ap is not None
    assert 0.1 < ours.ap < 0.9


def test_a_category_that_nobody_drew_does_not_count() -> None:
    mask = box(3, 3, 8)
    result = average_precision([(SIZE_HW, [found(1, mask)], [found(1, mask, 0.9), found(2, mask, 0.95)])])
    assert result.ap == pytest.approx(1)
    assert set(result.by_label) == {1}


def test_what_lies_in_a_crowd_is_neither_right_nor_wrong() -> None:
    mask, crowd = box(3, 3, 8), box(0, 15, 12)
    true = [found(1, mask), found(1, crowd, crowd=True)]
    inside = found(1, box(2, 16, 4), 0.99)
    assert average_precision([(SIZE_HW, true, [found(1, mask, 0.5), inside])]).ap == pytest.approx(1)
    assert average_precision([(SIZE_HW, true[:1], [found(1, mask, 0.5), inside])]).ap == pytest.approx(0.5, abs=0.01)


def test_nothing_found_is_zero_and_nothing_true_is_no_figure() -> None:
    mask = box(3, 3, 8)
    assert average_precision([(SIZE_HW, [found(2, mask)], [])]).ap == 0
    assert average_precision([(SIZE_HW, [found(2, mask)], [])]).by_label == {2: 0.0}
    assert average_precision([(SIZE_HW, [], [found(2, mask, 0.5)])]).ap is None
    assert average_precision([]).ap50 is None
