"""The clean-up of a label map: small parts are removed, and small holes are filled."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ovdiff.presets.segmenting_settings import RefineSettings


def clean_up(label_map: NDArray[np.int32], settings: RefineSettings) -> NDArray[np.int32]:
    """Remove small parts, then fill small holes. Both limits are in pixels of the map; 0 turns a limit off.

    A part is a 4-connected piece of one category. A hole is a 4-connected region that one category encloses. The
    background inside a hole is filled; other categories inside it stay.

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
