"""Words that were asked for in an image: present or absent, painted or not, and the shares that follow.

A word is *present* where at least 0.5 % of the image's pixels show it, and *absent* where none do; words between the
two are left out, because a person could decide either way. It is *painted* where it is given more than 0.5 % of the
pixels. An engine that paints absent words gives people masks to delete.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ovdiff.vocabulary import Vocabulary

MIN_SHARE = 0.005
"""Of an image's pixels: in the truth as much or more is presence, of what was painted more than this is painted."""

Figures = dict[str, float | None]


@dataclass(frozen=True)
class AskedWord:
    """One word that was asked for in one image.

    Attributes:
        truth: the share of the image's pixels that show it.
        painted: the share of the pixels that were given to it.
        iou: intersection over union of the two masks; 0 if both are empty.
        score: the score of its region; 0 if it has no pixel.
    """

    truth: float
    painted: float
    iou: float
    score: float

    @property
    def is_present(self) -> bool:
        """Whether the image shows enough of it."""
        return self.truth >= MIN_SHARE

    @property
    def is_absent(self) -> bool:
        """Whether the image shows nothing of it."""
        return self.truth == 0

    @property
    def is_painted(self) -> bool:
        """Whether it was given enough pixels to count."""
        return self.painted > MIN_SHARE


def random_vocabularies(vocabulary: Vocabulary, image: int, size: int, count: int) -> list[Vocabulary]:
    """Return random vocabularies of ``size`` words, in the order of the whole one; that one alone, if it is no larger.

    They depend on the image's number, the size and nothing else, so that every engine is asked for the same.
    """
    everything = vocabulary.categories
    if size >= len(everything):
        return [vocabulary]
    drawn = (np.random.default_rng([image, size, draw]) for draw in range(count))
    chosen = (np.sort(rng.choice(len(everything), size, replace=False)) for rng in drawn)
    return [Vocabulary(everything[index] for index in indices) for indices in chosen]


def word_figures(words: Iterable[AskedWord], more_absent: int = 0) -> Figures:
    """Return the figures of some words, and of as many more that are absent and not painted.

    A figure is None where no word says anything about it. ``auroc`` is about the painted words alone: how often a
    present one has a higher score than an absent one, over all such pairs, ties counting half.
    """
    words = list(words)
    present, absent = [w for w in words if w.is_present], [w for w in words if w.is_absent]
    right, wrong = [w for w in present if w.is_painted], [w for w in absent if w.is_painted]
    return {
        "present painted": _share(right, present),
        "absent painted": len(wrong) / (len(absent) + more_absent) if absent or more_absent else None,
        "area of the absent": _mean([word.painted for word in wrong]),
        "auroc": auroc([word.score for word in right], [word.score for word in wrong]),
        "iou of the present": _mean([word.iou for word in present]),
        "present": len(present),
        "absent": len(absent) + more_absent,
    }


RATES = {
    "present painted": (0, 1),
    "absent painted": (2, 3),
    "area of the absent": (4, 2),
    "iou of the present": (5, 1),
}
"""Those of :func:`word_figures` that are ratios of :func:`word_sums`: which is divided by which."""
SUMS = 6


def word_sums(words: Iterable[AskedWord], more_absent: int = 0) -> tuple[float, ...]:
    """Return the sums of some words, and of as many more that are absent and not painted.

    They are: present ones that are painted, present ones, absent ones that are painted, absent ones, the area of the
    absent ones that are painted, the IoU of the present ones.
    """
    words = list(words)
    present, absent = [w for w in words if w.is_present], [w for w in words if w.is_absent]
    wrong = [w for w in absent if w.is_painted]
    return (
        sum(w.is_painted for w in present),
        len(present),
        len(wrong),
        len(absent) + more_absent,
        sum(w.painted for w in wrong),
        sum(w.iou for w in present),
    )


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
