"""Features and prototype tables give score maps (Eq. 4 over windows and extractors, PAMR), and these give a label map.

No model runs here. Between the two steps the part check may change the scores (:mod:`ovdiff.segmenting.part_check`).

Tested through the engine by tests/ovdiff/engine/test_engine.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ovdiff.errors import DeviceMemoryError
from ovdiff.models.pamr import pamr
from ovdiff.presets import Preset
from ovdiff.segmentation import Segmentation
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.segmenting.refine import clean_up
from ovdiff.segmenting.segmenter import BACKGROUND, ScoreMerger, class_scores, decide
from ovdiff.segmenting.tables import Tables


@dataclass(frozen=True)
class ScoreMaps:
    """The scores of competing classes.

    Attributes:
        scores: (C, h, w) float32 at working size.
        labels: the label id of each class; background, 0, comes first if there is one.
    """

    scores: Tensor
    labels: tuple[int, ...]


def score_maps(
    encoded: EncodedImage,
    tables: Tables,
    candidates: Sequence[int],
    preset: Preset,
    device: torch.device,
    *,
    halved: bool = False,
) -> ScoreMaps:
    """Return the score maps of an encoded image: the votes of all extractors and windows.

    Args:
        encoded: the encoded image.
        tables: the vocabulary's prototypes.
        candidates: the indices of the categories to look for, ascending.
        preset: the settings by which features become scores.
        device: the device that computes the score maps.
        halved: whether cosines are products of bfloat16, added up in float32.

    Raises:
        DeviceMemoryError: the score maps do not fit into the device's memory.
    """
    try:
        scores, labels = _by_eq_4(encoded, tables, candidates, preset, device, halved)
    except torch.OutOfMemoryError as error:
        raise _no_room(encoded, len(candidates)) from error
    return ScoreMaps(scores, tuple(labels))


def refined(encoded: EncodedImage, maps: ScoreMaps, preset: Preset) -> ScoreMaps:
    """Return score maps whose borders follow the edges of the image, by PAMR.

    Raises:
        DeviceMemoryError: the score maps do not fit into the device's memory.
    """
    try:
        return ScoreMaps(pamr(encoded.working, maps.scores, preset.refine), maps.labels)
    except torch.OutOfMemoryError as error:
        raise _no_room(encoded, len(maps.labels)) from error


def label_pixels(encoded: EncodedImage, maps: ScoreMaps, asked: int, preset: Preset) -> Segmentation:
    """Label every pixel of the image by the best class, and clean the label map up.

    Args:
        encoded: the encoded image.
        maps: the scores.
        asked: the number of categories that were asked for; label ids above it are anchors, which count as
            background.
        preset: the settings of the clean-up.

    Raises:
        DeviceMemoryError: the score maps do not fit into the device's memory.
    """
    drawn = without_anchors(maps, asked)
    try:
        decided = decide(drawn.scores, drawn.labels, encoded.size_hw)
    except torch.OutOfMemoryError as error:
        raise _no_room(encoded, len(drawn.labels)) from error
    return Segmentation(clean_up(decided.label_map, preset.refine), decided.scores, decided.margins)


def without_anchors(maps: ScoreMaps, asked: int) -> ScoreMaps:
    """Return the maps with background and all anchors as one class, because none of them is drawn.

    Each map costs time when it is enlarged to the image.
    """
    anchors = [row for row, label in enumerate(maps.labels) if label > asked]
    if not anchors:
        return maps
    others = [row for row, label in enumerate(maps.labels) if 0 < label <= asked]
    behind = anchors if maps.labels[0] else [0, *anchors]
    scores = torch.cat([maps.scores[behind].amax(dim=0, keepdim=True), maps.scores[others]])
    return ScoreMaps(scores, (0, *(maps.labels[row] for row in others)))


def voting_classes(candidates: Sequence[int], preset: Preset) -> list[int]:
    """Return the classes that have prototypes, in the order of their score maps; background comes first, if it has."""
    return [BACKGROUND, *candidates] if preset.matching.background == "prototypes" else list(candidates)


def _no_room(encoded: EncodedImage, classes: int) -> DeviceMemoryError:
    height, width = encoded.working.shape[:2]
    return DeviceMemoryError(
        f"The score maps of {classes} categories, {width} x {height} px each, do not fit into the "
        f"device's free memory. End other programs on it, or lower windows.max_long_side_px."
    )


def _by_eq_4(
    encoded: EncodedImage,
    tables: Tables,
    candidates: Sequence[int],
    preset: Preset,
    device: torch.device,
    halved: bool,
) -> tuple[Tensor, list[int]]:
    """Return score maps (C, h, w) at working size and their label ids. If there is a background it comes first."""
    matching, classes = preset.matching, voting_classes(candidates, preset)
    merger = ScoreMerger(len(classes), (encoded.working.shape[0], encoded.working.shape[1]), device)
    for name, table in tables.items():
        gated = table.gated(candidates).to(device)
        for batch in encoded.features[name]:
            merger.add(class_scores(batch.features, gated, classes, halved=halved), batch.windows)
    scores, labels = merger.mean(), [index + 1 for index in classes]  # The label id of BACKGROUND is 0.
    if matching.background == "threshold":
        threshold = torch.full_like(scores[:1], matching.background_threshold)
        return torch.cat([threshold, scores]), [0, *labels]
    return scores, labels
