"""Run lengths split into their connected parts, and parts of a few pixels taken away.

A semantic mask holds every boat of an image as one region. Its connected parts are the boats, as far as these do not
touch: boats side by side stay one part, and a boat behind a mast becomes two.
"""

from dataclasses import dataclass

import numpy as np

from converters.encodings.coco_rle import CocoRLE, coco_rle_to_mask, label_map_to_coco_rles, mask_to_coco_rle
from converters.encodings.masks import label_parts, mask_box


@dataclass(frozen=True)
class Parts:
    """The 8-connected parts of a mask that are large enough.

    Attributes:
        whole: the pixels of all of them, None if no part is large enough.
        parts: the pixels of each of them, in reading order of their first pixels.
        dropped: how many parts were smaller.
    """

    whole: CocoRLE | None
    parts: tuple[CocoRLE, ...]
    dropped: int


def coco_rle_to_parts(rle: CocoRLE, min_area_px: int = 0) -> Parts:
    """Split run lengths into connected parts of at least `min_area_px` pixels each.

    The mask is decoded whole; the time does not grow with the number of parts.
    """
    height, width = rle["size"]
    mask = coco_rle_to_mask(rle, max_pixels=height * width)
    rows, columns = mask_box(mask)
    if not rows.stop:
        return Parts(None, (), 0)
    corner = (rows.start, columns.start)
    labels, count = label_parts(mask[rows, columns])
    is_large = np.bincount(labels.ravel(), minlength=count + 1) >= max(1, min_area_px)
    is_large[0] = False
    kept = int(is_large.sum())
    if kept == count == 1:
        return Parts(rle, (rle,), 0)
    labels *= is_large[labels]
    parts = tuple(label_map_to_coco_rles(labels, (height, width), corner).values())
    if kept == count:
        return Parts(rle, parts, 0)
    mask[rows, columns] = labels > 0
    return Parts(mask_to_coco_rle(mask) if kept else None, parts, count - kept)
