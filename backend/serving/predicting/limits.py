"""What is shown of a segmentation: pixels that are sure enough, parts of masks that are large enough, regions whose
score is high enough.

Limits decide what is written, never what is computed: a segmentation is remembered without them, so other limits cost
no model a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from backend.serving.vocabulary import Output
from backend.settings import OutputSettings
from converters.encodings.masks import label_parts, remove_small_parts
from converters.label_studio.own_attributes import MIN_AREA, MIN_MARGIN, THRESHOLD
from ovdiff.segmentation import Segmentation

SCORE_DECIMALS = 4


def shown_score(score: float) -> float:
    """Return a score as it is written; thresholds are held against this number, which a person sees."""
    return round(score, SCORE_DECIMALS)


def least_score(output: Output, settings: OutputSettings) -> tuple[float, str]:
    """Return the score below which the regions of an output are hidden, and the name of what says so.

    The `threshold` of a label counts more than OVDIFF_MIN_SCORE, also if it is lower.
    """
    if output.threshold is not None:
        return output.threshold, THRESHOLD
    return settings.min_score, "OVDIFF_MIN_SCORE"


def within_limits(segmentation: Segmentation, outputs: Sequence[Output]) -> tuple[Segmentation, list[str]]:
    """Return a segmentation without the pixels and the parts that the labels hide, and what was hidden, as text.

    Args:
        segmentation: the segmentation; its label id `i + 1` is `outputs[i].category`.
        outputs: the labels with their limits.
    """
    segmentation, unsure = without_unsure_pixels(
        segmentation, {index: output.min_margin for index, output in enumerate(outputs)}
    )
    segmentation, dropped = without_small_parts(
        segmentation, {index: output.min_area_px for index, output in enumerate(outputs)}
    )
    return segmentation, [
        *(
            f"{outputs[index].label}: {count} pixels with a margin below {MIN_MARGIN}={outputs[index].min_margin:g}"
            for index, count in unsure.items()
        ),
        *(
            f"{outputs[index].label}: {count} parts smaller than {MIN_AREA}={outputs[index].min_area_px}"
            for index, count in dropped.items()
        ),
    ]


def without_unsure_pixels(
    segmentation: Segmentation, min_margin: Mapping[int, float]
) -> tuple[Segmentation, dict[int, int]]:
    """Return a segmentation in which pixels that could nearly have had another label are background.

    Args:
        segmentation: the segmentation.
        min_margin: by the index of a category, the margin that its pixels must have.

    Returns:
        The segmentation, and by the index of a category how many of its pixels became background.
    """
    label_map, dropped = segmentation.label_map.copy(), {}
    for index, least in min_margin.items():
        if least <= 0:
            continue  # no margin is negative
        unsure = segmentation.mask(index) & (segmentation.margins < least)
        if unsure.any():
            label_map[unsure] = 0
            dropped[index] = int(np.count_nonzero(unsure))
    return (replace(segmentation, label_map=label_map) if dropped else segmentation), dropped


def without_small_parts(
    segmentation: Segmentation, min_area_px: Mapping[int, int]
) -> tuple[Segmentation, dict[int, int]]:
    """Return a segmentation whose small connected parts are background.

    Args:
        segmentation: the segmentation.
        min_area_px: by the index of a category, how many pixels a part of its mask must have.

    Returns:
        The segmentation, and by the index of a category how many of its parts were dropped.
    """
    limited = {index: least for index, least in min_area_px.items() if least > 1}  # no part has less than one pixel
    label_map, dropped = segmentation.label_map.copy(), {}
    for index, least in limited.items():
        mask = segmentation.mask(index)
        small = mask & ~remove_small_parts(mask, least)
        if small.any():
            label_map[small] = 0
            dropped[index] = label_parts(small)[1]
    return (replace(segmentation, label_map=label_map) if dropped else segmentation), dropped
