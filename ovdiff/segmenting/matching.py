"""Features and prototype tables give a segmentation: Eq. 4 over windows and extractors, PAMR, clean-up. Runs no model.

Tested through the engine by tests/ovdiff/test_engine.py.
"""

from collections.abc import Sequence

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


def match(
    encoded: EncodedImage, tables: Tables, candidates: Sequence[int], preset: Preset, device: torch.device
) -> Segmentation:
    """Label every pixel of an encoded image.

    Args:
        encoded: the encoded image.
        tables: the vocabulary's prototypes.
        candidates: the indices of the categories to look for, ascending.
        preset: the settings by which scores become labels.
        device: the device that computes the score maps.

    Raises:
        DeviceMemoryError: the score maps do not fit into the device's memory.
    """
    try:
        scores, labels = _score_maps(encoded, tables, candidates, preset, device)
        if preset.refine.pamr:
            scores = pamr(encoded.working, scores, preset.refine)
        decided = decide(scores, labels, encoded.size_hw)
    except torch.OutOfMemoryError as error:
        height, width = encoded.working.shape[:2]
        raise DeviceMemoryError(
            f"The score maps of {len(candidates)} categories, {width} x {height} px each, do not fit into the "
            f"device's free memory. End other programs on it, or lower windows.max_long_side_px."
        ) from error
    return Segmentation(clean_up(decided.label_map, preset.refine), decided.scores, decided.margins)


def _score_maps(
    encoded: EncodedImage, tables: Tables, candidates: Sequence[int], preset: Preset, device: torch.device
) -> tuple[Tensor, list[int]]:
    """Return score maps (C, h, w) at working size and their label ids. If there is a background it comes first."""
    matching = preset.matching
    classes = [BACKGROUND, *candidates] if matching.background == "prototypes" else list(candidates)
    merger = ScoreMerger(len(classes), (encoded.working.shape[0], encoded.working.shape[1]), device)
    for name, table in tables.items():
        gated = table.gated(candidates).to(device)
        for batch in encoded.features[name]:
            merger.add(class_scores(batch.features, gated, classes), batch.windows)
    scores, labels = merger.mean(), [index + 1 for index in classes]  # The label id of BACKGROUND is 0.
    if matching.background == "threshold":
        threshold = torch.full_like(scores[:1], matching.background_threshold)
        return torch.cat([threshold, scores]), [0, *labels]
    return scores, labels
