"""What an engine painted of each word that a drawn scene was asked for: see :mod:`ovdiff.evaluation.asked_words`."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.drawn_world import EVERYTHING, Scenes, true_labels
from ovdiff import Segmentation, Vocabulary
from ovdiff.engines.encodings import HasEncodings
from ovdiff.evaluation.asked_words import AskedWord, random_vocabularies
from ovdiff.region_scores import RegionEvidence
from ovdiff.tinyworld.world import THINGS

Kind = Literal["things", "stuff"]
KINDS: tuple[Kind, ...] = ("things", "stuff")


@dataclass(frozen=True)
class SceneWord(AskedWord):
    """One word that was asked for in one drawn scene.

    Attributes:
        scene: the scene's number.
        vocabulary: all names that were asked for together.
        name: the word.
        evidence: what its score follows from; None if it has no pixel.
    """

    scene: int
    vocabulary: tuple[str, ...]
    name: str
    evidence: RegionEvidence | None = None

    @property
    def kind(self) -> Kind:
        """Whether the world draws it as a thing or as stuff."""
        return "things" if self.name in THINGS else "stuff"


def ask(engine: HasEncodings, scenes: Scenes, size: int, count: int) -> list[SceneWord]:
    """Label each scene with its random vocabularies of one size, and return every word that was asked for."""
    words = []
    for scene, encoded, names in zip(scenes.numbers, scenes.encoded, scenes.label_maps, strict=True):
        for vocabulary in random_vocabularies(EVERYTHING, scene, size, count):
            words += compare(scene, vocabulary, true_labels(names, vocabulary), engine.label(encoded, vocabulary))
    return words


def compare(
    scene: int, vocabulary: Vocabulary, truth: NDArray[np.int32], segmentation: Segmentation
) -> list[SceneWord]:
    """Compare what was painted of each word with the true (H, W) label map of the same vocabulary."""
    count, found = len(vocabulary.categories), segmentation.label_map
    pairs = np.bincount((truth * (count + 1) + found).ravel(), minlength=(count + 1) ** 2).reshape(count + 1, -1)
    shown, given, both = pairs.sum(axis=1), pairs.sum(axis=0), np.diag(pairs)
    names = tuple(category.name for category in vocabulary.categories)
    return [
        SceneWord(
            truth=float(shown[index + 1] / truth.size),
            painted=float(given[index + 1] / truth.size),
            iou=float(both[index + 1] / max(1, shown[index + 1] + given[index + 1] - both[index + 1])),
            score=region_score(segmentation, index),
            scene=scene,
            vocabulary=names,
            name=name,
            evidence=segmentation.evidence(index, found == index + 1)[0] if given[index + 1] else None,
        )
        for index, name in enumerate(names)
    ]


def region_score(segmentation: Segmentation, index: int) -> float:
    """Return the score that Label Studio is given for the region of ``vocabulary.categories[index]``."""
    return segmentation.category_score(index)
