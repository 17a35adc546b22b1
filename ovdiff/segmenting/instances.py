"""From pixels to objects: the pixels of a thing become one object or several, the pixels of stuff stay one segment.

::

    connected parts of a thing's pixels            parts below the smallest area are no object
      -> cut by class-agnostic proposals           method "proposals": those that lie in the thing's pixels
      -> cut at waists                             methods "cores" and "proposals": touching objects of one kind

**Cores.** The places of a part that lie deep inside it form its cores. As the required depth grows, a part that is two
touching objects falls into two cores, because it is narrow where the objects meet. Each pixel belongs to the nearest
core. A cut is made only if the passage is narrow against both cores, and if no piece is tiny.

**Proposals** take their class from the label map. A proposal whose pixels are mostly no thing, or of several things, is
ignored. What no proposal claims stays: as a piece of its own if it is large, or else with the nearest piece.

Parts are cut on a grid of at most 256 cells a side, so a large image costs little more than a small one. Never imports
torch.
"""

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ovdiff.presets.segmenting_settings import InstanceSettings

Mask = NDArray[np.bool_]
Pieces = NDArray[np.int32]
"""(h, w) int32 over a part's box: the number of the piece that each cell belongs to, from 1."""

_MOST_PX = 1024  # the longest side of the image that proposals are made of: 100 masks then take 100 MB
_CELLS = 256  # the most cells on a side of the grid on which a part is cut
_LEVELS = np.arange(0.25, 0.95, 0.05)  # how deep a core lies at least, as a share of the deepest place of its part
_TOUCHING = np.ones((3, 3), dtype=np.bool_)  # pixels that touch at a corner belong together


def find_instances(
    label_map: NDArray[np.int32],
    stuff: Collection[int],
    settings: InstanceSettings,
    proposals: Mask | None = None,
) -> NDArray[np.int32]:
    """Give each object and each kind of stuff an id; one id a pixel.

    Args:
        label_map: (H, W) int32; 0 is background, ``i + 1`` is category ``i``.
        stuff: the indices of the categories that are stuff.
        settings: the method and its limits.
        proposals: (J, h, w) bool, class-agnostic masks of the whole image at any size, the most certain first; for the
            method "proposals".

    Returns:
        (H, W) int32: ids from 1 without a gap, in the order of the categories, and of the objects' parts from the top;
        0 is background and what is too small to be an object.
    """
    instances = np.zeros_like(label_map)
    smallest_px = max(1.0, settings.min_area * label_map.size)
    number = 0
    for label in np.flatnonzero(np.bincount(label_map.ravel())).tolist():
        mask: Mask = label_map == label
        if label == 0:
            continue
        if label - 1 in stuff:
            number += 1
            instances[mask] = number
            continue
        claims = _of_thing(proposals, label_map, label, settings.agreement) if proposals is not None else None
        for box, part in _parts(mask, smallest_px):
            pieces = _cut(part, box, label_map.shape, claims, settings)
            kept = np.flatnonzero(np.bincount(pieces.ravel()) >= smallest_px)
            for piece in kept[kept > 0].tolist():
                number += 1
                instances[box][pieces == piece] = number
    return instances


def reduced(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) with sides of at most 1024 px, for proposals: each mask takes a byte a pixel."""
    scale = _MOST_PX / max(image.shape[:2])
    if scale >= 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def _parts(mask: Mask, smallest_px: float) -> Iterator[tuple[tuple[slice, slice], Mask]]:
    """Yield the box of each connected part that is large enough, and the part inside its box."""
    numbers, _ = ndimage.label(mask, _TOUCHING)
    sizes = np.bincount(numbers.ravel())
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        if sizes[number] >= smallest_px:
            yield box, numbers[box] == number


def _of_thing(proposals: Mask, label_map: NDArray[np.int32], label: int, agreement: float) -> Mask:
    """Return the proposals (K, h, w) of which at least the given share has a label, in their order."""
    rows, columns = (
        _places(0, size, size / cells, cells) for size, cells in zip(label_map.shape, proposals.shape[1:], strict=True)
    )
    of_label = label_map[np.ix_(rows, columns)] == label
    inside = (proposals & of_label).sum(axis=(1, 2))
    chosen: Mask = proposals[inside >= np.maximum(1, agreement * proposals.sum(axis=(1, 2)))]
    return chosen


def _places(start: int, stop: int, step: float, count: int) -> NDArray[np.intp]:
    """Return the pixels under the centres of ``count`` cells of ``step`` pixels, from ``start`` on, below ``stop``."""
    centres = start + (np.arange(count) + 0.5) * step
    return np.minimum(centres.astype(np.intp), stop - 1)


def _cut(
    part: Mask, box: tuple[slice, slice], size_hw: tuple[int, ...], claims: Mask | None, settings: InstanceSettings
) -> Pieces:
    """Cut a part (h, w), which fills its box in an image of ``size_hw``: (h, w) int32, 0 outside the part."""
    if settings.method == "parts":
        return part.astype(np.int32)
    step = -(-max(part.shape) // _CELLS)
    small = part[::step, ::step]
    if claims is not None and len(claims):
        rows, columns = (
            np.arange(side.start, side.stop, step) * cells // size
            for side, cells, size in zip(box, claims.shape[1:], size_hw, strict=True)
        )
        seeds = _claimed(small, claims[:, rows[:, None], columns], settings)
    else:
        seeds = _cores(small, settings)
    if seeds.max() < 2:
        return part.astype(np.int32)
    pieces = _nearest(seeds).repeat(step, axis=0).repeat(step, axis=1)[: part.shape[0], : part.shape[1]]
    return pieces * part


def _claimed(part: Mask, claims: Mask, settings: InstanceSettings) -> Pieces:
    """Return the seeds of a part (h, w) by the proposals (K, h, w) that claim some of it; what is left has cores.

    A proposal that claims nearly the whole part, or hardly any of it, cuts nothing.
    """
    seeds = np.zeros(part.shape, dtype=np.int32)
    area = int(part.sum())
    smallest = settings.min_piece * area
    for claim in claims:
        fresh = claim & part & (seeds == 0)
        claimed = int(fresh.sum())
        if max(smallest, (claim & part).sum() / 2) <= claimed <= area - smallest:
            seeds[fresh] = seeds.max() + 1
    rest = part & (seeds == 0)
    for box, left in _parts(rest, max(1.0, smallest)):
        cores = _cores(left, settings)
        seeds[box][cores > 0] = cores[cores > 0] + seeds.max()
    return seeds


def _cores(part: Mask, settings: InstanceSettings) -> Pieces:
    """Return the cores of a part (h, w), numbered from 1: one, or as many as the part has touching objects."""
    solid = ndimage.binary_fill_holes(part)  # A hole, a wrongly labelled patch as a rule, is no place to cut at.
    depth = ndimage.distance_transform_edt(np.pad(solid, 1))[1:-1, 1:-1]
    found = part.astype(np.int32)
    for level in _LEVELS * depth.max():
        numbers, count = ndimage.label(depth > level, _TOUCHING)
        peaks = ndimage.maximum(depth, numbers, np.arange(1, count + 1))
        wide = np.flatnonzero(np.asarray(peaks) * settings.waist >= level) + 1
        if len(wide) > found.max():
            cores = _large(_renumbered(numbers, wide), part, settings.min_piece)
            found = cores if cores.max() > found.max() else found
    return found


def _large(cores: Pieces, part: Mask, min_piece: float) -> Pieces:
    """Drop cores whose piece is tiny against the largest piece, the smallest first, until none is."""
    while (count := int(cores.max())) > 1:
        sizes = np.bincount(_nearest(cores)[part], minlength=count + 1)[1:]
        if sizes.min() >= min_piece * sizes.max():
            break
        cores = _renumbered(cores, np.delete(np.arange(1, count + 1), sizes.argmin()))
    return cores


def _renumbered(numbers: NDArray[np.int32], kept: NDArray[np.intp]) -> Pieces:
    """Number the kept numbers from 1 on; all others become 0."""
    table = np.zeros(int(numbers.max()) + 1, dtype=np.int32)
    table[kept] = np.arange(1, len(kept) + 1)
    return table[numbers]


def _nearest(seeds: Pieces) -> Pieces:
    """Return the number of the nearest seed of each cell."""
    rows, columns = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    nearest: Pieces = seeds[rows, columns]
    return nearest
