"""A place after each step from votes to labels: scores and labels, by the functions that segment.

Tested through the whole by tests/ovdiff/explaining/test_explainer.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.explaining.explanation import Stage
from ovdiff.presets.segmenting_settings import RefineSettings
from ovdiff.segmenting.image_segmenter import ImageSegmenter
from ovdiff.segmenting.matching import ScoreMaps, without_anchors
from ovdiff.segmenting.refine import clean_up
from ovdiff.segmenting.segmenter import decide
from ovdiff.segmenting.steps import PART_CHECK, Match, Step


@dataclass(frozen=True)
class Trace:
    """What the steps did to a place.

    Attributes:
        stages: the place after each step.
        labels: the label ids of the scores of each stage, in their order.
        decided: the label that the mean scores of the votes decide at the place.
        last: the last step of the score maps.
        before_check: the score maps at which the part check began; ``None`` if there is no part check.
    """

    stages: tuple[Stage, ...]
    labels: tuple[int, ...]
    decided: int
    last: Step
    before_check: ScoreMaps | None


def trace(segmenter: ImageSegmenter, match: Match, mask: NDArray[np.bool_], weights: Tensor) -> Trace:
    """Take the steps of segmenting, and look at a place after each of them.

    Args:
        segmenter: the half that segments; call this inside ``with segmenter.parts.models.lock``.
        match: the image, and what competes for it.
        mask: (H, W) bool, the place.
        weights: (h, w) float64, how much each pixel of the working image counts for the place.
    """
    asked, size_hw = match.competition.asked, match.encoded.size_hw
    stages: list[Stage] = []
    decided = 0
    previous: ScoreMaps | None = None
    before_check: ScoreMaps | None = None
    label_map: NDArray[np.int32] = np.zeros(size_hw, dtype=np.int32)
    for step in segmenter.steps(match):
        drawn, before = without_anchors(step.maps, asked), label_map
        label_map = decide(drawn.scores, drawn.labels, size_hw).label_map
        if not stages:
            before, decided = label_map, _decided(drawn, weights)
        stages.append(_stage(step.name, label_map, before, mask, mean_at(step.maps.scores, weights)))
        if step.name == PART_CHECK:
            before_check = previous
        last, previous = step, step.maps
    for name, settings in _clean_ups(segmenter.parts.preset.refine):
        before, label_map = label_map, clean_up(label_map, settings)
        stages.append(_stage(name, label_map, before, mask, ()))
    return Trace(tuple(stages), last.maps.labels, decided, last, before_check)


def mean_at(maps: Tensor, weights: Tensor) -> tuple[float, ...]:
    """Return the weighted sum of each map (C, h, w), (C,)."""
    return tuple((maps.to("cpu", torch.float64) * weights).sum(dim=(1, 2)).tolist())


def _decided(drawn: ScoreMaps, weights: Tensor) -> int:
    """Return the label that wins at the place by the mean scores, by the rules of a pixel."""
    means = torch.tensor(mean_at(drawn.scores, weights), dtype=torch.float32)[:, None, None]
    return int(decide(means, drawn.labels, (1, 1)).label_map[0, 0])


def _clean_ups(settings: RefineSettings) -> Sequence[tuple[str, RefineSettings]]:
    """Return the two halves of the clean-up, one after the other, as far as the preset has them."""
    halves = [
        ("small parts", replace(settings, max_hole_px=0), settings.min_part_px),
        ("holes", replace(settings, min_part_px=0), settings.max_hole_px),
    ]
    return [(name, half) for name, half, limit_px in halves if limit_px > 0]


def _stage(
    name: str,
    label_map: NDArray[np.int32],
    before: NDArray[np.int32],
    mask: NDArray[np.bool_],
    scores: tuple[float, ...],
) -> Stage:
    labels = label_map[mask]
    counts = np.bincount(labels)
    changed = float((before[mask] != labels).mean())
    return Stage(name, int(counts.argmax()), float(counts.max() / counts.sum()), changed, scores)
