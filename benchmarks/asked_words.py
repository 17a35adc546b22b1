"""Random vocabularies, what an engine painted of each word that was asked for, and the shares that follow from it.

A word is *present* where at least 0.5 % of the scene's pixels show it, and *absent* where none do; words between the
two are left out, because a person could decide either way. It is *painted* where it is given more than 0.5 % of the
pixels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.drawn_world import EVERYTHING, Scenes, true_labels
from ovdiff import Segmentation, Vocabulary
from ovdiff.engines import HasEncodings
from ovdiff.region_scores import RegionEvidence
from ovdiff.tinyworld.world import THINGS

MIN_SHARE = 0.005
"""Of a scene's pixels: in the truth as much or more is presence, of what was painted more than this is painted."""

Kind = Literal["things", "stuff"]
KINDS: tuple[Kind, ...] = ("things", "stuff")
Figures = dict[str, float | None]


@dataclass(frozen=True)
class AskedWord:
    """One word that was asked for in one scene.

    Attributes:
        scene: the scene's number.
        vocabulary: all names that were asked for together.
        name: the word.
        truth: the share of the scene's pixels that show it.
        painted: the share of the pixels that were given to it.
        iou: intersection over union of the two masks; 0 if both are empty.
        score: the score of its region; 0 if it has no pixel.
        evidence: what that score follows from; None if it has no pixel.
    """

    scene: int
    vocabulary: tuple[str, ...]
    name: str
    truth: float
    painted: float
    iou: float
    score: float
    evidence: RegionEvidence | None = None

    @property
    def kind(self) -> Kind:
        """Whether the world draws it as a thing or as stuff."""
        return "things" if self.name in THINGS else "stuff"

    @property
    def is_present(self) -> bool:
        """Whether the scene shows enough of it."""
        return self.truth >= MIN_SHARE

    @property
    def is_absent(self) -> bool:
        """Whether the scene shows nothing of it."""
        return self.truth == 0

    @property
    def is_painted(self) -> bool:
        """Whether it was given enough pixels to count."""
        return self.painted > MIN_SHARE


def random_vocabularies(scene: int, size: int, count: int) -> list[Vocabulary]:
    """Return random vocabularies of ``size`` of the 19 words, in the world's order; one of all words, if it is 19.

    A scene's vocabularies depend on its number, the size and nothing else, so that every seed and every variant of the
    preset is asked for the same.
    """
    everything = EVERYTHING.categories
    if size == len(everything):
        return [EVERYTHING]
    drawn = (np.random.default_rng([scene, size, draw]) for draw in range(count))
    chosen = (np.sort(rng.choice(len(everything), size, replace=False)) for rng in drawn)
    return [Vocabulary(tuple(everything[index] for index in indices)) for indices in chosen]


def ask(engine: HasEncodings, scenes: Scenes, size: int, count: int) -> list[AskedWord]:
    """Label each scene with its random vocabularies of one size, and return every word that was asked for."""
    words = []
    for scene, encoded, names in zip(scenes.numbers, scenes.encoded, scenes.label_maps, strict=True):
        for vocabulary in random_vocabularies(scene, size, count):
            words += compare(scene, vocabulary, true_labels(names, vocabulary), engine.label(encoded, vocabulary))
    return words


def compare(
    scene: int, vocabulary: Vocabulary, truth: NDArray[np.int32], segmentation: Segmentation
) -> list[AskedWord]:
    """Compare what was painted of each word with the true (H, W) label map of the same vocabulary."""
    count, found = len(vocabulary.categories), segmentation.label_map
    pairs = np.bincount((truth * (count + 1) + found).ravel(), minlength=(count + 1) ** 2).reshape(count + 1, -1)
    shown, given, both = pairs.sum(axis=1), pairs.sum(axis=0), np.diag(pairs)
    names = tuple(category.name for category in vocabulary.categories)
    return [
        AskedWord(
            scene,
            names,
            name,
            truth=float(shown[index + 1] / truth.size),
            painted=float(given[index + 1] / truth.size),
            iou=float(both[index + 1] / max(1, shown[index + 1] + given[index + 1] - both[index + 1])),
            score=region_score(segmentation, index),
            evidence=segmentation.evidence(index, found == index + 1)[0] if given[index + 1] else None,
        )
        for index, name in enumerate(names)
    ]


def region_score(segmentation: Segmentation, index: int) -> float:
    """Return the score that Label Studio is given for the region of ``vocabulary.categories[index]``."""
    return segmentation.category_score(index)


def word_figures(words: Iterable[AskedWord]) -> Figures:
    """Return the figures of some words; None where no word says anything about one.

    ``auroc`` is about the painted words alone: how often a present one has a higher score than an absent one, over all
    such pairs, ties counting half.
    """
    words = list(words)
    present, absent = [w for w in words if w.is_present], [w for w in words if w.is_absent]
    right, wrong = [w for w in present if w.is_painted], [w for w in absent if w.is_painted]
    return {
        "present painted": _share(right, present),
        "absent painted": _share(wrong, absent),
        "area of the absent": _mean([word.painted for word in wrong]),
        "auroc": auroc([word.score for word in right], [word.score for word in wrong]),
        "iou of the present": _mean([word.iou for word in present]),
        "present": len(present),
        "absent": len(absent),
    }


def auroc(true: Sequence[float], false: Sequence[float]) -> float | None:
    """Return the share of pairs in which the true one has the higher score, ties half; None without such a pair."""
    if not true or not false:
        return None
    ranked, asked = np.sort(np.asarray(false)), np.asarray(true)
    below, not_above = np.searchsorted(ranked, asked, "left"), np.searchsorted(ranked, asked, "right")
    return float((below + not_above).mean() / (2 * len(ranked)))


def _share(some: Sequence[AskedWord], of: Sequence[AskedWord]) -> float | None:
    return len(some) / len(of) if of else None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
