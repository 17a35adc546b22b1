"""After the scores: PAMR on score maps (A.13), holes and small parts of the label map."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from ovdiff.presets.schema import RefineSettings

_OFFSETS = tuple((row, column) for row, column in product((-1, 0, 1), repeat=2) if (row, column) != (0, 0))


@torch.inference_mode()
def pamr(image: NDArray[np.uint8], scores: Tensor, settings: RefineSettings) -> Tensor:
    """Let each pixel take its neighbours' scores, weighted by how alike their colours are (A.13).

    For a pixel p and each of its 8 neighbours q at every dilation,
    ``k = -|I_p - I_q| / (1e-8 + 0.1 sigma_p)`` averaged over channels, where sigma_p is the deviation over all
    dilations' 3 x 3 neighbourhoods; weights are the softmax of k. Neighbours outside repeat the border.

    Args:
        image: (H, W, 3) uint8 RGB.
        scores: (C, h, w) float32; resized to the image (align_corners True) when h, w differ.
        settings: iterations and dilations.

    Returns:
        (C, H, W) float32. Memory at the peak, in floats of one map (H, W): about 44 for each dilation; where there are
        many classes 8 for each dilation and 4 for each class.
    """
    colours = torch.tensor(image, device=scores.device).permute(2, 0, 1).float()
    if scores.shape[1:] != colours.shape[1:]:
        scores = F.interpolate(scores[None], size=colours.shape[1:], mode="bilinear", align_corners=True)[0]
    weights = _affinity(colours, settings.pamr_dilations)
    for _ in range(settings.pamr_iterations):
        moved = torch.zeros_like(scores)
        for weight, neighbour in zip(weights, _neighbours(scores, settings.pamr_dilations), strict=True):
            moved.addcmul_(weight, neighbour)
        scores = moved
    return scores


def _affinity(colours: Tensor, dilations: tuple[int, ...]) -> Tensor:
    """Return the weight (8 * dilations, H, W) of each neighbour; they sum to 1 at every pixel."""
    centres = [colours] * len(dilations)  # the centre is in each dilation's 3 x 3
    samples = torch.stack([*_neighbours(colours, dilations), *centres])
    scale = 1e-8 + 0.1 * samples.std(dim=0)
    likeness = samples[: -len(centres)].sub_(colours).abs_().neg_().div_(scale)  # in place: this is the memory's peak
    return likeness.mean(dim=1).softmax(dim=0)


def _neighbours(maps: Tensor, dilations: tuple[int, ...]) -> Iterator[Tensor]:
    """Yield maps (C, H, W) shifted towards each of the 8 neighbours of each dilation, borders repeated."""
    height, width = maps.shape[1:]
    for dilation in dilations:
        padded = F.pad(maps[None], (dilation,) * 4, mode="replicate")[0]
        for row, column in _OFFSETS:
            top, left = dilation * (1 + row), dilation * (1 + column)
            yield padded[:, top : top + height, left : left + width]


def clean_up(label_map: NDArray[np.int32], settings: RefineSettings) -> NDArray[np.int32]:
    """Remove small parts, then fill small holes. Both limits are in pixels of the map; 0 turns one off.

    A part is a 4-connected piece of one category. A hole is a 4-connected region that one category encloses;
    its background is filled, other categories inside it stay.

    Returns:
        (H, W) int32, a new array.
    """
    cleaned = label_map.copy()
    if settings.min_part_px > 0:
        for label in np.unique(label_map[label_map > 0]):
            cleaned[_small_pieces(label_map == label, settings.min_part_px - 1)] = 0
    if settings.max_hole_px > 0:
        for label in np.unique(cleaned[cleaned > 0]):
            holes = ndimage.binary_fill_holes(cleaned == label) & (cleaned != label)
            cleaned[_small_pieces(holes, settings.max_hole_px) & (cleaned == 0)] = label
    return cleaned


def _small_pieces(mask: NDArray[np.bool_], max_px: int) -> NDArray[np.bool_]:
    """Return the 4-connected pieces of a mask (H, W) that have at most ``max_px`` pixels."""
    pieces, _ = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel())
    small = sizes <= max_px
    small[0] = False
    chosen: NDArray[np.bool_] = small[pieces]
    return chosen
