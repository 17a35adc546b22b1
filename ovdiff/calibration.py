"""The weights of region scores, fitted on regions of which it is known whether they are right.

**Without labels.** Support images come with their own masks, so they are images with a known truth. Each is segmented
with vocabularies that hold its word and with vocabularies that do not, among other words of the project. A region of
its own word is right if its IoU with the support image's foreground is 0.5 or more. A region of another word is wrong
if it lies mostly in that foreground; elsewhere nobody knows what the generator drew, and the region is left out.

**With labels**, such as the drawn world's scenes, regions are compared with the truth (``benchmarks.fit_scores``).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.support import SupportImage, SupportSet
from ovdiff.presets.segmenting_settings import RegionScoreWeights, ScoreSettings
from ovdiff.region_scores import EVIDENCE, RegionEvidence
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary
from ovdiff.vocabulary.kinds import KindDecision

RIGHT_IOU = 0.5
"""A region of which less is right is sooner drawn anew than corrected."""

LEAST_OF_EACH = 10
"""With fewer right regions, or fewer wrong ones, only their share is fitted: weights would follow single regions."""

DIGITS = 4
"""Weights are rounded to so many significant digits; more would be noise."""

_VOCABULARY_SIZES = (1, 2, 4, 8)


@dataclass(frozen=True)
class JudgedRegion:
    """A region of which it is known whether it is right."""

    evidence: RegionEvidence
    is_stuff: bool
    is_right: bool


@runtime_checkable
class CalibratedEngine(Protocol):
    """What the fit on support images needs of an engine."""

    def kinds(self, vocabulary: Vocabulary) -> tuple[KindDecision, ...]:
        """Decide whether each category is a thing or stuff."""
        ...

    def support_set(self, category: Category) -> SupportSet:
        """Return the support images of a category with their masks."""
        ...

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        """Label every pixel of an (H, W, 3) uint8 RGB image."""
        ...


def fit_scores(regions: Sequence[JudgedRegion]) -> ScoreSettings:
    """Return calibrated scores, with weights for things and for stuff. The same regions give the same weights."""
    things = [region for region in regions if not region.is_stuff]
    stuff = [region for region in regions if region.is_stuff]
    return ScoreSettings("calibrated", fit_weights(things), fit_weights(stuff))


def fit_weights(regions: Sequence[JudgedRegion]) -> RegionScoreWeights:
    """Return the weights of a logistic model of some regions, fitted by maximum likelihood with a light L2 penalty.

    With fewer than ten right regions, or fewer than ten wrong ones, each region gets the same score: the share that is
    right, by Laplace's rule of succession; 0.5 without any region.
    """
    right = np.array([region.is_right for region in regions], dtype=bool)
    if min(right.sum(), (~right).sum()) < LEAST_OF_EACH:
        odds = (right.sum() + 1) / ((~right).sum() + 1)
        return RegionScoreWeights(_rounded(float(np.log(odds))))
    from sklearn.linear_model import LogisticRegression  # an extra, and slow to import

    rows = np.array([astuple(region.evidence) for region in regions])
    means, spreads = rows.mean(axis=0), rows.std(axis=0)
    spreads[spreads < 1e-9] = np.inf  # What is the same for all regions says nothing: its weight becomes 0.
    fitted = LogisticRegression().fit((rows - means) / spreads, right)
    weights = fitted.coef_[0] / spreads
    intercept = float(fitted.intercept_[0] - weights @ means)
    return RegionScoreWeights(
        _rounded(intercept), **{name: _rounded(weight) for name, weight in zip(EVIDENCE, weights.tolist(), strict=True)}
    )


def support_regions(
    engine: CalibratedEngine,
    vocabulary: Vocabulary,
    report: Callable[[str, float], None] = lambda _name, _fraction: None,
) -> Iterator[JudgedRegion]:
    """Yield the regions of the support images of all words, whose prototypes must have been built.

    Args:
        engine: the method.
        vocabulary: the project's words; at least two, or there is nothing that a word could be mistaken for.
        report: called with a word's name and the fraction done.

    Cost: each support image is segmented about six times; its encoding is kept, so that it is encoded once.

    Raises:
        BankError: support images are not stored; the message says what to do.
        OVDiffError: an image cannot be segmented.
    """
    words = vocabulary.categories
    stuff = [decision.kind == "stuff" for decision in engine.kinds(vocabulary)]
    for own, category in enumerate(words):
        report(category.name, own / len(words))
        for number, item in enumerate(engine.support_set(category).images):
            if item.foreground.any():
                for asked in _vocabularies(own, len(words), np.random.default_rng([own, number])):
                    found = engine.segment(item.image, Vocabulary(tuple(words[index] for index in asked)))
                    yield from _judged(found, item, asked, own, stuff)
    report("done", 1.0)


def scores_to_toml(scores: ScoreSettings) -> str:
    """Return the table ``[scores]`` of a preset, as a file holds it."""
    lines = ["[scores]", f'kind = "{scores.kind}"']
    for name, weights in (("things", scores.things), ("stuff", scores.stuff)):
        lines += ["", f"[scores.{name}]", *(f"{field} = {value!r}" for field, value in asdict(weights).items())]
    return "\n".join(lines) + "\n"


def _vocabularies(own: int, count: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """Yield random vocabularies, as indices of words: of each size one with a support image's word and one without."""
    others = np.array([index for index in range(count) if index != own])
    for size in _VOCABULARY_SIZES:
        if size <= count:
            yield sorted([own, *rng.choice(others, size - 1, replace=False).tolist()])
        if size < count:
            yield sorted(rng.choice(others, size, replace=False).tolist())


def _judged(
    found: Segmentation, item: SupportImage, asked: Sequence[int], own: int, stuff: Sequence[bool]
) -> Iterator[JudgedRegion]:
    """Yield the regions of one segmented support image of which it is known whether they are right."""
    for index, mask in found.found():
        both, word = np.count_nonzero(mask & item.foreground), asked[index]
        is_right = word == own and both >= RIGHT_IOU * np.count_nonzero(mask | item.foreground)
        if word == own or both >= np.count_nonzero(mask) / 2:
            yield JudgedRegion(found.evidence(index, mask)[0], stuff[word], bool(is_right))


def _rounded(weight: float) -> float:
    return float(f"{weight:.{DIGITS}g}")
