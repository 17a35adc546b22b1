"""How good a head is on annotated images that it did not learn from: PQ and mIoU, by the engine that people use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converters.metrics.confusion import confusion_matrix, mean_iou
from converters.metrics.panoptic_quality import SegmentMap, SegmentMatches, match_segments
from ovdiff.odise.engine import OdiseEngine
from ovdiff.odise.naming import Label
from ovdiff.odise.training.views import Examples
from ovdiff.vocabulary import Category, Vocabulary


@dataclass(frozen=True)
class Figures:
    """The figures of a validation, from 0 to 1; NaN where nothing could be compared.

    Attributes:
        pq: panoptic quality, the mean over the labels that occur.
        miou: the mean IoU over the labels that occur and background.
    """

    pq: float
    miou: float

    def __str__(self) -> str:
        """Return them in a few words."""
        return f"PQ {self.pq:.3f}, mIoU {self.miou:.3f}"


def vocabulary_of(labels: list[Label]) -> Vocabulary:
    """Return the labels of a training as a vocabulary."""
    return Vocabulary([Category(each.name, each.synonyms, "stuff" if each.stuff else "thing") for each in labels])


def validate(engine: OdiseEngine, examples: Examples, labels: list[Label]) -> Figures:
    """Segment each image with all labels, and compare.

    Of a partial annotation only the annotated pixels count.

    Raises:
        OVDiffError: an image cannot be read or segmented.
    """
    vocabulary, count = vocabulary_of(labels), len(labels)
    matches = SegmentMatches.none(count)
    confusion = np.zeros((count + 1, count + 1), dtype=np.int64)
    for number in range(len(examples)):
        example = examples[number]
        truth = SegmentMap(example.segment_map, tuple(name + 1 for name in example.names))
        encoded = engine.encode(example.image)
        found = engine.panoptic(encoded, vocabulary)
        predicted = SegmentMap(found.ids.cpu().numpy(), tuple(segment.label + 1 for segment in found.segments))
        unknown = (example.segment_map == 0) if example.partial else None
        matches += match_segments(truth, predicted, count, unknown)
        known = slice(None) if unknown is None else ~unknown
        label_map = engine.label(encoded, vocabulary).label_map
        confusion += confusion_matrix(truth.label_map()[known], label_map[known], count)
    of_labels = matches.panoptic_quality
    occurring = of_labels[~np.isnan(of_labels)]
    return Figures(float(occurring.mean()) if occurring.size else float("nan"), mean_iou(confusion))
