"""How sure is the method of a region: the probability that the region is right, from the evidence for it.

::

    score = 1 / (1 + exp(-(intercept + weights . evidence)))

A region is right if its IoU with what is really there is 0.5 or more. The weights are a preset's ``[scores]``, fitted
on regions of which it is known whether they are right (:mod:`ovdiff.calibration`). Never imports torch.
"""

import math
from dataclasses import dataclass, fields

from ovdiff.presets.segmenting_settings import RegionScoreWeights, ScoreSettings

LEAST_SHARE = 1e-6
"""Smaller shares count as this one, because the logarithm of 0 is no number."""

MOST_LOGIT = 30.0
"""Beyond it, either way, a probability is 0 or 1 to 13 digits; exp() of a far larger number does not exist."""


@dataclass(frozen=True)
class RegionEvidence:
    """What the score of a region follows from. The fields have the names of their weights.

    Attributes:
        cosine: the mean of its pixels' scores by Eq. 4, in [0, 1].
        margin: the mean of its pixels' margins: how far the runner-up is behind, as a cosine.
        log_area: the natural logarithm of its share of the image's pixels.
        log_presence: the natural logarithm of CLIP's share of its word in the whole image, beside the other words and
            the anchors; 0 if CLIP did not look.
        log_share: the same for the region's own parts, where CLIP looked at them; as in the whole image, where it did
            not.
    """

    cosine: float
    margin: float
    log_area: float
    log_presence: float = 0.0
    log_share: float = 0.0


EVIDENCE = tuple(field.name for field in fields(RegionEvidence))
"""The names of the evidence, in the order of its fields."""


@dataclass(frozen=True)
class RegionScoring:
    """How the regions of one segmentation are scored.

    Attributes:
        settings: the preset's.
        names: the names of the vocabulary's categories, in its order.
        stuff: the indices of the categories that are stuff.
    """

    settings: ScoreSettings
    names: tuple[str, ...]
    stuff: frozenset[int]

    def score(self, index: int, evidence: RegionEvidence) -> float:
        """Return the score of a region of the vocabulary's category ``index``, in [0, 1]."""
        if self.settings.kind == "mean_cosine":
            return evidence.cosine
        return probability(self.settings.stuff if index in self.stuff else self.settings.things, evidence)


def probability(weights: RegionScoreWeights, evidence: RegionEvidence) -> float:
    """Return the probability, in [0, 1], that a region is right."""
    logit = weights.intercept + sum(getattr(weights, name) * getattr(evidence, name) for name in EVIDENCE)
    return 1.0 / (1.0 + math.exp(-min(max(logit, -MOST_LOGIT), MOST_LOGIT)))


def log_share(share: float) -> float:
    """Return the natural logarithm of a share in [0, 1]."""
    return math.log(max(share, LEAST_SHARE))
