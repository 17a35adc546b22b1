"""A place of an image, and how much each pixel of a map counts for it.

Maps are enlarged bilinearly, which is linear: the mean over the place of an enlarged map is a weighted sum over the
small map. The weights come from the enlarging function itself, by automatic differentiation.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.errors import ImageError
from ovdiff.explaining.explanation import Where
from ovdiff.segmenting.segmenter import enlarge


def place_mask(where: Where, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a place as a mask (H, W) bool of an image of (H, W) px.

    Raises:
        ImageError: the pixel lies outside the image, or the mask is of another size or type, or empty.
    """
    height, width = size_hw
    if isinstance(where, np.ndarray):
        if where.shape != size_hw:
            raise ImageError(
                f"The region's mask has the shape {where.shape}, and the image {size_hw} (height, width). Give a mask "
                "of the image's own size."
            )
        if where.dtype != np.bool_:
            raise ImageError(f"The region's mask is of {where.dtype}; expected bool, True inside. Write mask > 0.")
        if not where.any():
            raise ImageError("The region's mask is empty: none of its pixels is set, so there is nothing to explain.")
        return where
    x, y = where
    if not (0 <= x < width and 0 <= y < height):
        raise ImageError(
            f"The pixel ({x}, {y}) lies outside the image of {width} x {height} px; x goes from 0 to {width - 1}, and "
            f"y from 0 to {height - 1}."
        )
    mask = np.zeros(size_hw, dtype=np.bool_)
    mask[y, x] = True
    return mask


def pixel_weights(mask: NDArray[np.bool_], working_hw: tuple[int, int]) -> Tensor:
    """Return the weight (h, w) float64 of each pixel of the working image for a place, which sum to 1.

    The weighted sum of a map is the mean over the place of the map as it is enlarged to the image.

    Args:
        mask: (H, W) bool, the place.
        working_hw: the size of the working image.
    """
    weights = shrink(torch.from_numpy(mask).float(), working_hw).double()
    return weights / weights.sum()


def shrink(large: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Return the transpose of enlarging: (h, w) so that ``sum(shrink(a) * b) == sum(a * enlarge(b))`` for all b."""
    with torch.inference_mode(False), torch.enable_grad():
        small = torch.zeros((1, *size_hw), dtype=large.dtype, requires_grad=True)
        enlarged = enlarge(small, (large.shape[0], large.shape[1]))
        (weights,) = torch.autograd.grad(enlarged, small, large.clone()[None])
    found: Tensor = weights[0]
    return found
