"""PAMR makes score maps follow the edges of their image (A.13).

It has no weights. Both halves of the method use it: MaskCut for proposals, and the engine for an image's score maps.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.presets.segmenting_settings import RefineSettings

_OFFSETS = tuple((row, column) for row, column in product((-1, 0, 1), repeat=2) if (row, column) != (0, 0))


@torch.inference_mode()
def pamr(image: NDArray[np.uint8], scores: Tensor, settings: RefineSettings) -> Tensor:
    """Let each pixel take its neighbours' scores, weighted by the likeness of their colours (A.13).

    For a pixel p and each of its 8 neighbours q at every dilation,
    ``k = -|I_p - I_q| / (1e-8 + 0.1 sigma_p)`` is averaged over the channels. sigma_p is the standard deviation over
    the 3 x 3 neighbourhoods of all dilations. The weights are the softmax of k. A neighbour outside the image has the
    colour and the scores of the border.

    Args:
        image: (H, W, 3) uint8 RGB.
        scores: (C, h, w) float32. Scores of another size are resized to the image (align_corners True).
        settings: iterations and dilations.

    Returns:
        (C, H, W) float32. Memory at the peak, in floats of one map (H, W): about 44 for each dilation, or with many
        classes 8 for each dilation and 4 for each class.
    """
    # torch reads no array backwards, such as image[::-1].
    colours = torch.tensor(np.ascontiguousarray(image), device=scores.device).permute(2, 0, 1).float()
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
    """Return the weight (8 * dilations, H, W) of each neighbour; the weights sum to 1 at every pixel."""
    centres = [colours] * len(dilations)  # The centre belongs to the 3 x 3 neighbourhood of each dilation.
    samples = torch.stack([*_neighbours(colours, dilations), *centres])
    scale = 1e-8 + 0.1 * samples.std(dim=0)
    # In place, because memory is at its peak here.
    likeness = samples[: -len(centres)].sub_(colours).abs_().neg_().div_(scale)
    return likeness.mean(dim=1).softmax(dim=0)


def _neighbours(maps: Tensor, dilations: tuple[int, ...]) -> Iterator[Tensor]:
    """Yield the maps (C, H, W) shifted towards each of the 8 neighbours of each dilation, with borders repeated."""
    height, width = maps.shape[1:]
    for dilation in dilations:
        padded = F.pad(maps[None], (dilation,) * 4, mode="replicate")[0]
        for row, column in _OFFSETS:
            top, left = dilation * (1 + row), dilation * (1 + column)
            yield padded[:, top : top + height, left : left + width]
