"""Each hard part against a slow computation in plain Python."""

import math

import numpy as np
import pytest
import torch

from ovdiff.proposals.boxes import anchor_boxes, apply_deltas, has_area, paste_masks, pool, pyramid_levels


def test_anchors_are_not_rounded() -> None:
    found = anchor_boxes(32, 4, (2, 3), torch.device("cpu"))
    expected = []
    for row in range(2):
        for column in range(3):
            for aspect in (0.5, 1.0, 2.0):
                width, height = 32 / math.sqrt(aspect), 32 * math.sqrt(aspect)
                x, y = column * 4, row * 4
                expected.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_deltas_are_scaled_by_their_weights_and_growth_is_bounded() -> None:
    random = np.random.default_rng(0)
    boxes = np.concatenate([random.uniform(0, 50, (20, 2)), random.uniform(60, 90, (20, 2))], axis=1)
    deltas = random.normal(scale=4, size=(20, 4))
    deltas[0] = [0, 0, 100, 100]  # 1000 / 16 times as large at most
    expected = []
    for (x0, y0, x1, y1), (dx, dy, dw, dh) in zip(boxes, deltas, strict=True):
        x, y = (x0 + x1) / 2 + dx / 10 * (x1 - x0), (y0 + y1) / 2 + dy / 10 * (y1 - y0)
        width = (x1 - x0) * min(math.exp(dw / 5), 1000 / 16)
        height = (y1 - y0) * min(math.exp(dh / 5), 1000 / 16)
        expected.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    found = apply_deltas(torch.tensor(deltas).float(), torch.tensor(boxes).float(), (10, 10, 5, 5))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("side", "level"), [(1, 0), (111.9, 0), (112.0, 1), (223.9, 1), (224, 2), (447, 2), (448, 3), (5000, 3)]
)
def test_a_box_of_224_px_is_read_at_stride_16(side: float, level: int) -> None:
    boxes = torch.tensor([[3, 5, 3 + 2 * side, 5 + side / 2]])  # by its area, whatever its shape
    assert pyramid_levels(boxes).tolist() == [level]


def test_an_empty_box_is_read_from_the_finest_level() -> None:
    assert pyramid_levels(torch.tensor([[4.0, 4.0, 4.0, 9.0]])).tolist() == [0]


def test_a_line_has_no_area() -> None:
    boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 1, 0], [2, 2, 1, 3]])
    assert has_area(boxes).tolist() == [True, False, False, False]


def _bilinear(image: np.ndarray, y: float, x: float) -> float:
    """Value of an image (h, w) between its cells' centres at whole numbers; the border goes on by one cell."""
    height, width = image.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    low_y, low_x = int(y), int(x)
    high_y, high_x = min(low_y + 1, height - 1), min(low_x + 1, width - 1)
    down, right = y - low_y, x - low_x
    upper = image[low_y, low_x] * (1 - right) + image[low_y, high_x] * right
    lower = image[high_y, low_x] * (1 - right) + image[high_y, high_x] * right
    return float(upper * (1 - down) + lower * down)


def _slow_pool(image: np.ndarray, box: list[float], stride: int, size: int) -> np.ndarray:
    """Aligned ROI align with as many samples a cell as its pixels ask for."""
    left, top, right, bottom = (edge / stride - 0.5 for edge in box)
    height, width = (bottom - top) / size, (right - left) / size
    rows, columns = math.ceil(height), math.ceil(width)
    pooled = np.zeros((size, size))
    for y in range(size):
        for x in range(size):
            values = [
                _bilinear(image, top + (y + (i + 0.5) / rows) * height, left + (x + (j + 0.5) / columns) * width)
                for i in range(rows)
                for j in range(columns)
            ]
            pooled[y, x] = np.mean(values)
    return pooled


def test_boxes_are_pooled_from_their_level_aligned() -> None:
    random = torch.Generator().manual_seed(0)
    features = [torch.randn(1, 2, 512 // stride, 512 // stride, generator=random) for stride in (4, 8, 16, 32)]
    boxes = torch.tensor([[5.0, 7.5, 40.2, 50.9], [100, 90, 280, 300.5], [0, 3, 512, 505], [30, 40, 180, 190]])
    pooled = pool(features, boxes, 3)
    for box, level, found in zip(boxes.tolist(), (0, 1, 3, 1), pooled, strict=True):
        for channel in range(2):
            expected = _slow_pool(features[level][0, channel].numpy(), box, 4 << level, 3)
            np.testing.assert_allclose(found[channel].numpy(), expected, atol=1e-4)


def test_no_boxes_give_no_features() -> None:
    features = [torch.zeros(1, 2, 8, 8)] * 4
    assert pool(features, torch.zeros(0, 4), 7).shape == (0, 2, 7, 7)


def test_masks_are_pasted_by_bilinear_values_at_pixel_centres() -> None:
    random = np.random.default_rng(0)
    masks = random.uniform(size=(3, 28, 28)).astype(np.float32)
    boxes = [[3.3, 2.1, 30.9, 19.8], [0.0, 0.0, 40.0, 30.0], [35.2, 20.0, 40.0, 30.0]]
    found = paste_masks(torch.from_numpy(masks), torch.tensor(boxes), (30, 40)).numpy()
    for mask, (left, top, right, bottom), pasted in zip(masks, boxes, found, strict=True):
        padded = np.pad(mask, 1)  # beyond its outermost centres a mask fades to nothing
        for y in range(30):
            for x in range(40):
                row = (y + 0.5 - top) / (bottom - top) * 28 - 0.5
                column = (x + 0.5 - left) / (right - left) * 28 - 0.5
                outside = not (-1 < row < 28 and -1 < column < 28)
                value = 0.0 if outside else _bilinear(padded, row + 1, column + 1)
                if abs(value - 0.5) > 1e-4:
                    assert pasted[y, x] == (value >= 0.5), (y, x)


def test_no_masks_paste_to_none() -> None:
    assert paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), (5, 6)).shape == (0, 5, 6)
