"""COCO run lengths: column-major runs that start with background, as a list or as pycocotools' string.

    {"size": [height, width], "counts": "..."}       compressed: 6 bits a character from "0" on, 5 of them
                                                     payload (least significant first), one "more follows";
                                                     from the fourth count on, the difference to the count
                                                     two before
    {"size": [height, width], "counts": [3, 5, ...]} uncompressed

Encoding gives the same text as pycocotools. Decoding is done here, not by pycocotools: before the mask is allocated,
it is checked that the counts fill the image exactly. The error says what is wrong, where pycocotools only says "Invalid
RLE mask representation".
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, cast

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from converters.encodings.masks import MAX_PIXELS, Mask, require_mask, require_size
from converters.errors import CocoRLEError

_Counts = npt.NDArray[np.int64]

_MAX_DIGITS = 7  # 5 bits each: enough for any 32-bit count and its sign


class CocoRLE(TypedDict):
    """A compressed segmentation as COCO has it, ready for JSON."""

    size: list[int]
    counts: str


def mask_to_coco_rle(mask: Mask) -> CocoRLE:
    """Encode a (H, W) bool mask as COCO's compressed RLE, holes and detached parts included."""
    require_mask(mask)
    return _borders_to_coco_rle(_borders(mask), mask.shape)


def _borders(mask: Mask) -> _Counts:
    """Return the positions, in column-major order, at which a mask begins and ends in turn.

    Only the box around the mask is copied into that order: an object covers a small part of its image.
    """
    columns = np.flatnonzero(mask.any(axis=0))
    if not columns.size:
        return np.zeros(0, dtype=np.int64)
    left, right = int(columns[0]), int(columns[-1]) + 1
    rows = np.flatnonzero(mask[:, left:right].any(axis=1))
    top, bottom, height = int(rows[0]), int(rows[-1]) + 1, mask.shape[0]
    # A row of background below the box ends each run with its column, unless the box is as high as the image.
    box = np.zeros((right - left, min(bottom - top + 1, height)), dtype=np.bool_)
    box[:, : bottom - top] = mask[top:bottom, left:right].T
    borders = np.flatnonzero(np.diff(box.ravel(), prepend=False, append=False))
    in_column, in_row = np.divmod(borders, box.shape[1])
    return (in_column + left) * height + in_row + top


def box_to_coco_rle(box_xywh: Sequence[float], size_hw: tuple[int, int]) -> CocoRLE:
    """Encode the pixels whose centres an upright box holds, as `polygons.polygons_to_mask` fills it.

    The time grows with the columns of the box; to fill it as a polygon takes five times as long.

    Args:
        box_xywh: the left and top edge, the width and the height in pixels; what is outside the image is cut off.
        size_hw: height and width of the image.
    """
    height, width = require_size(size_hw, max_pixels=math.prod(size_hw))
    x, y, box_width, box_height = box_xywh
    left, right = (min(max(math.ceil(edge - 0.5), 0), width) for edge in (x, x + box_width))
    top, bottom = (min(max(math.ceil(edge - 0.5), 0), height) for edge in (y, y + box_height))
    if top >= bottom:
        return _borders_to_coco_rle(np.zeros(0, dtype=np.int64), size_hw)
    if bottom - top == height:  # the columns touch: one run
        runs = [(left * height, right * height)] if left < right else []
    else:
        runs = [(column * height + top, column * height + bottom) for column in range(left, right)]
    return _borders_to_coco_rle(np.array(runs, dtype=np.int64).ravel(), size_hw)


def box_in_image(box_xywh: Sequence[float], size_hw: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the part of a box that lies in its image, [x, y, width, height]; a box inside keeps its digits.

    Args:
        box_xywh: a corner and the sides in pixels; with a negative side the corner is not the upper left one.
        size_hw: height and width of the image.
    """
    x, y, width, height = box_xywh
    if x >= 0 and y >= 0 and width >= 0 and height >= 0 and x + width <= size_hw[1] and y + height <= size_hw[0]:
        return x, y, width, height
    left, right = sorted(min(max(edge, 0.0), float(size_hw[1])) for edge in (x, x + width))
    top, bottom = sorted(min(max(edge, 0.0), float(size_hw[0])) for edge in (y, y + height))
    return left, top, right - left, bottom - top


def label_map_to_coco_rles(
    label_map: npt.NDArray[np.integer], size_hw: tuple[int, int] | None = None, corner: tuple[int, int] = (0, 0)
) -> dict[int, CocoRLE]:
    """Encode each label of a label map as COCO's compressed RLE; background (0) is left out.

    The time grows with the number of runs in the map, not with the number of labels.

    Args:
        label_map: (H, W) integers.
        size_hw: height and width of the image if the map is of a part of it, around which there is background.
        corner: the row and the column of that part's first pixel in the image.

    Returns:
        The pixels of each label that occurs, by label, in increasing order of the labels.
    """
    (top, left), (height, width) = corner, size_hw or label_map.shape
    if label_map.shape[0] < height:  # a row of background below ends each run with its column
        label_map = np.pad(label_map, ((0, 1), (0, 0)))
    flat = label_map.ravel(order="F")
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    ends = np.concatenate((starts[1:], [flat.size]))
    values = flat[starts]
    order = np.argsort(values, kind="stable")
    labels, first = np.unique(values[order], return_index=True)
    in_column, in_row = np.divmod(np.stack((starts, ends), axis=1), label_map.shape[0])
    borders = (in_column + left) * height + in_row + top
    return {
        int(label): _borders_to_coco_rle(borders[runs].ravel(), (height, width))
        for label, runs in zip(labels, np.split(order, first[1:]), strict=True)
        if label != 0
    }


def _borders_to_coco_rle(borders: _Counts, size_hw: tuple[int, ...]) -> CocoRLE:
    """Encode a mask given by the positions, in column-major order, at which it begins and ends in turn.

    pycocotools' own `encode` takes four bytes for each pixel, and ends the process if it cannot have that memory.
    """
    height, width = size_hw
    end = [] if borders.size and borders[-1] == height * width else [height * width]
    counts = np.diff(borders, prepend=0, append=end).tolist()
    # pycocotools' stubs know one form of this only.
    rle: Any = coco_mask.frPyObjects(cast(Any, {"size": [height, width], "counts": counts}), height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def coco_rle_to_mask(rle: Mapping[str, Any], *, max_pixels: int = MAX_PIXELS) -> Mask:
    """Decode COCO's RLE, compressed (str or bytes) or not (list of int), into a (H, W) bool mask.

    Raises:
        CocoRLEError: a key is missing, the counts are no counts, or they do not fill the image exactly.
        MaskError: `size` is no size, or has more than `max_pixels`.
    """
    size_hw, counts = _checked(rle, max_pixels)
    starts, ends = _runs(counts)
    mask = np.zeros(size_hw, dtype=np.bool_)
    if starts.size:  # the columns beside the mask are background already
        height = size_hw[0]
        left, right = int(starts[0]) // height, (int(ends[-1]) - 1) // height + 1
        edges = np.stack((starts, ends), axis=1).ravel() - left * height
        lengths = np.diff(edges, prepend=0, append=(right - left) * height)
        inside = np.arange(lengths.size) % 2 == 1
        mask[:, left:right] = np.repeat(inside, lengths).reshape(right - left, height).T
    return mask


def coco_rle_runs(rle: CocoRLE, *, max_pixels: int = MAX_PIXELS) -> tuple[_Counts, _Counts]:
    """Return the runs of a mask: the positions in column-major order at which each begins, and at which it has ended.

    The errors are those of `coco_rle_to_mask`.
    """
    return _runs(_checked(rle, max_pixels)[1])


def _runs(counts: _Counts) -> tuple[_Counts, _Counts]:
    edges = np.cumsum(counts)
    starts, ends = edges[:-1:2], edges[1::2]
    return starts[starts < ends], ends[starts < ends]


def _checked(rle: Mapping[str, Any], max_pixels: int) -> tuple[tuple[int, int], _Counts]:
    """Return (height, width) and the counts, which fill the image exactly."""
    if not isinstance(rle, Mapping) or not {"size", "counts"} <= rle.keys():
        got = sorted(map(str, rle)) if isinstance(rle, Mapping) else type(rle).__name__
        raise CocoRLEError(f"expected COCO RLE with the keys 'size' and 'counts', got {got}")
    height, width = require_size(_size_of(rle["size"]), max_pixels=max_pixels)
    counts = _counts_of(rle["counts"])
    pixels = height * width
    outside = counts[(counts < 0) | (counts > pixels)]
    if outside.size:
        raise CocoRLEError(f"expected counts between 0 and {pixels}, got {outside[0]}: the RLE is damaged")
    if counts.sum() != pixels:
        raise CocoRLEError(
            f"expected counts that sum to {pixels} (a {width}x{height} image), got {counts.sum()}: "
            "the RLE is cut short, damaged or of another size"
        )
    return (height, width), counts


def coco_rle_area(rle: CocoRLE) -> int:
    """Return the number of pixels in a mask, as pycocotools counts them."""
    return int(coco_mask.area({"size": rle["size"], "counts": rle["counts"].encode("ascii")}))


def coco_rle_intersection(first: CocoRLE, second: CocoRLE) -> int:
    """Return the number of pixels that two masks share, without decoding either mask.

    Raises:
        CocoRLEError: the masks differ in size.
    """
    if list(first["size"]) != list(second["size"]):
        raise CocoRLEError(f"expected two RLEs of one size, got {first['size']} and {second['size']}")
    pair: Any = [{"size": rle["size"], "counts": rle["counts"].encode("ascii")} for rle in (first, second)]
    return int(coco_mask.area(coco_mask.merge(pair, intersect=True)))


def coco_rle_bbox_xywh(rle: CocoRLE) -> list[float]:
    """Return the box around all pixels of a mask, [x, y, width, height] in pixels, as pycocotools computes it."""
    box = coco_mask.toBbox({"size": rle["size"], "counts": rle["counts"].encode("ascii")})
    return [float(value) for value in box]


def _size_of(size: object) -> tuple[int, int]:
    if not isinstance(size, (list, tuple)) or len(size) != 2:
        raise CocoRLEError(f"expected 'size' to be [height, width], got {size!r:.60}")
    return size[0], size[1]


def _counts_of(counts: object) -> _Counts:
    """Return run lengths from any of the three forms of `counts`."""
    if isinstance(counts, str):
        if not counts.isascii():
            raise CocoRLEError(f"expected ASCII characters in 'counts', got {counts!r:.60}")
        return _decompress(counts.encode("ascii"))
    if isinstance(counts, bytes):
        return _decompress(counts)
    if isinstance(counts, Sequence):
        bad = next((c for c in counts if isinstance(c, bool) or not isinstance(c, int)), None)
        if bad is not None:
            raise CocoRLEError(f"expected whole numbers in 'counts', got {bad!r:.60}")
        # Nothing above 2**62 can be right; capping keeps such numbers wrong without overflowing int64.
        return np.array([max(-1, min(c, 1 << 62)) for c in counts], dtype=np.int64)
    raise CocoRLEError(f"expected 'counts' to be a string or a list, got {type(counts).__name__}")


def _decompress(text: bytes) -> _Counts:
    """Undo COCO's character coding (maskApi.c, rleFrString) for all counts at once."""
    codes = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - ord("0")
    if codes.size == 0:
        return codes
    if codes.min() < 0 or codes.max() > 63:
        bad = int(np.flatnonzero((codes < 0) | (codes > 63))[0])
        raise CocoRLEError(f"expected characters '0' to 'o' in 'counts', got {chr(text[bad])!r} at index {bad}")
    is_last = codes & 32 == 0
    if not is_last[-1]:
        raise CocoRLEError(f"expected 'counts' to end with a whole number, got {text[-8:]!r}: it is cut short")
    ends = np.flatnonzero(is_last)
    starts = np.concatenate(([0], ends[:-1] + 1))
    digits = ends - starts + 1
    if digits.max() > _MAX_DIGITS:
        raise CocoRLEError(f"expected numbers of at most {_MAX_DIGITS} characters, got {int(digits.max())}")
    place = np.arange(codes.size) - np.repeat(starts, digits)
    numbers = np.add.reduceat((codes & 31) << 5 * place, starts)
    numbers -= np.where(codes[ends] & 16, 1 << 5 * digits, 0)  # sign bit of the most significant digit
    # counts[i] += counts[i - 2] from the fourth on: a running sum over odd and over even indices.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
