"""The boxes of a detector: anchors, deltas, levels of a feature pyramid, and the pasting of masks (D.3).

The arithmetic is detectron2's. The classes of torchvision give slightly other results: they round anchors, their
``MultiScaleRoIAlign`` is not aligned, and they paste masks at whole pixels. Boxes are (R, 4) float32: left, top, right,
bottom in px of the image, whose left upper corner is (0, 0).
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

ASPECTS = (0.5, 1.0, 2.0)
"""Height over width of each of the three anchors of a cell."""

_MAX_GROWTH = math.log(1000 / 16)  # The limit for a box's growth; it keeps exp() of an untrained delta finite.
_CANONICAL_PX, _CANONICAL_LEVEL = 224, 4  # The FPN paper, Eq. 1: a box of this size is read from stride 2^4.
_EPSILON = 2.220446049250313e-16


def anchor_boxes(size_px: float, stride_px: int, grid_hw: tuple[int, int], device: torch.device) -> Tensor:
    """Return the anchors of a feature map of (h, w) cells: (h * w * 3, 4), row by row, aspects innermost.

    Each anchor has an area of ``size_px`` squared. The anchors of a cell are centred on the cell's left upper corner.
    """
    widths = [math.sqrt(size_px**2 / aspect) for aspect in ASPECTS]
    halves = torch.tensor([(width / 2, aspect * width / 2) for width, aspect in zip(widths, ASPECTS, strict=True)])
    cell = torch.cat([-halves, halves], dim=1).to(device)
    rows, columns = (torch.arange(length, device=device, dtype=torch.float32) * stride_px for length in grid_hw)
    top, left = torch.meshgrid(rows, columns, indexing="ij")
    corners = torch.stack([left, top, left, top], dim=-1).reshape(-1, 1, 4)
    return (corners + cell).reshape(-1, 4)


def apply_deltas(deltas: Tensor, boxes: Tensor, weights: Sequence[float]) -> Tensor:
    """Move and scale boxes (R, 4) by predicted deltas (R, 4): dx, dy in sides of the box, log dw, log dh.

    Args:
        deltas: the predicted deltas, each multiplied by its weight.
        boxes: the boxes that the deltas are relative to.
        weights: the weights of dx, dy, dw, dh.
    """
    scaled = deltas / deltas.new_tensor(weights)
    shift, growth = scaled[:, :2], scaled[:, 2:]
    sides = boxes[:, 2:] - boxes[:, :2]
    centres = boxes[:, :2] + 0.5 * sides + shift * sides
    half = 0.5 * sides * growth.clamp(max=_MAX_GROWTH).exp()
    return torch.cat([centres - half, centres + half], dim=1)


def has_area(boxes: Tensor) -> Tensor:
    """Return (R,) bool: whether each box has a width and a height above 0."""
    return (boxes[:, 2:] > boxes[:, :2]).all(dim=1)


def pyramid_levels(boxes: Tensor) -> Tensor:
    """Return (R,) int64: the level that each box is read from, 0 to 3 for p2 to p5. It is coarser for larger boxes."""
    sides = boxes[:, 2:] - boxes[:, :2]
    ratio = sides.prod(dim=1).sqrt() / _CANONICAL_PX
    levels = torch.floor(_CANONICAL_LEVEL + torch.log2(ratio + _EPSILON))
    return levels.clamp(2, 5).long() - 2


def pool(features: Sequence[Tensor], boxes: Tensor, size: int) -> Tensor:
    """Read each box's part of the feature pyramid: (R, C, size, size) float32.

    Args:
        features: p2 to p5 of one image, each (1, C, h, w).
        boxes: (R, 4).
        size: the number of cells on a side of the result.
    """
    levels = pyramid_levels(boxes)
    pooled = boxes.new_zeros(len(boxes), features[0].shape[1], size, size)
    for level, feature in enumerate(features):
        chosen = levels == level
        if chosen.any():
            scale = 1 / (4 << level)
            pooled[chosen] = roi_align(feature.float(), [boxes[chosen]], size, scale, sampling_ratio=0, aligned=True)
    return pooled


def paste_masks(masks: Tensor, boxes: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Stretch each mask over its box and cut it at 0.5.

    Args:
        masks: (J, m, m) float32 in [0, 1].
        boxes: (J, 4), each with an area.
        size_hw: the size of the image, in px.

    Returns:
        (J, H, W) bool on the masks' device. A pixel takes the mask's value at the pixel's centre, interpolated between
        the centres of the mask's cells. Beyond the outermost cells' centres the mask fades to 0.
    """
    height, width = size_hw
    pasted = torch.zeros(len(masks), height, width, dtype=torch.bool, device=masks.device)
    for target, mask, box in zip(pasted, masks, boxes, strict=True):
        # Half a cell beyond its box a mask is below 0.5 everywhere, so one pixel around the box is enough.
        left, top = (max(0, math.floor(edge) - 1) for edge in box[:2].tolist())
        right, bottom = (math.ceil(edge) + 1 for edge in box[2:].tolist())
        window = target[top:bottom, left:right]
        columns = _in_box(left, window.shape[1], box[0], box[2])
        rows = _in_box(top, window.shape[0], box[1], box[3])
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
        window.copy_(F.grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0] >= 0.5)
    return pasted


def _in_box(first: int, count: int, low: Tensor, high: Tensor) -> Tensor:
    """Return where the centres of pixels ``first`` to ``first + count - 1`` lie in a box: -1 to 1, low to high."""
    centres = torch.arange(first, first + count, device=low.device) + 0.5
    return (centres - low) / (high - low) * 2 - 1
