"""What a head learns from: an image with segments, and views of it (C.4, C.6)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

NAMELESS = -1
"""The name of a segment of which only the mask is known."""


@dataclass(frozen=True)
class Example:
    """An annotated image.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        segment_map: (H, W) int32: the segment of each pixel, 0 where nothing is annotated.
        names: ``names[i - 1]`` is the index of segment i's name among the labels of the training, or :data:`NAMELESS`.
        captions: sentences about the image.
        partial: whether pixels without annotation may show anything, the labels too.
    """

    image: NDArray[np.uint8]
    segment_map: NDArray[np.int32]
    names: tuple[int, ...]
    captions: tuple[str, ...] = ()
    partial: bool = False


def with_nameless(example: Example, min_area: float) -> Example:
    """Make each connected region without annotation a nameless segment, if it looks like an object.

    It does if it covers ``min_area`` of the image, and does not reach from one side of the image to the opposite one:
    a region that does is surroundings that nobody annotated.
    """
    numbers, count = ndimage.label(example.segment_map == 0)
    if not count:
        return example
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    spanning = _on_both(numbers[0], numbers[-1]) | _on_both(numbers[:, 0], numbers[:, -1])
    large = {number for number in range(1, count + 1) if sizes[number] >= min_area * numbers.size}
    taken = sorted(large - spanning)
    ids = np.zeros(count + 1, dtype=np.int32)
    ids[taken] = len(example.names) + 1 + np.arange(len(taken))
    names = (*example.names, *[NAMELESS] * len(taken))
    segment_map = np.where(numbers > 0, ids[numbers], example.segment_map)
    return replace(example, segment_map=segment_map, names=names)


def _on_both(first: NDArray[np.int32], last: NDArray[np.int32]) -> set[int]:
    return set(first.tolist()) & set(last.tolist())


def fitted_segments(
    segment_map: NDArray[np.int32], names: Sequence[int], side_px: int
) -> tuple[NDArray[np.uint8], list[int]]:
    """Return the segments on a square grid (side_px, side_px) uint8, numbered without gaps, and their names.

    Each cell takes the segment at its centre. A segment that holds no centre is left out; so are those after the 255th.
    """
    rows, columns = (((np.arange(side_px) + 0.5) * length / side_px).astype(np.intp) for length in segment_map.shape)
    small = segment_map[np.ix_(rows, columns)]
    present = [number for number in np.unique(small).tolist() if number > 0][:255]
    ids = np.zeros(len(names) + 1, dtype=np.uint8)
    ids[present] = np.arange(1, len(present) + 1)
    return ids[small], [names[number - 1] for number in present]
