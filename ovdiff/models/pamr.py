"""PAMR: score maps that follow the edges of their image (A.13). It has no weights, and both halves use it."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
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
