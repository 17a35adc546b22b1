"""The result of a forecast, as data: categories, pairs, the confusion matrix and what to do. Never imports torch."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.judgement import Judgement
from ovdiff.vocabulary.categories import Kind

FindingKind = Literal["not built", "too few images", "doubtful word", "other sense", "same words", "confused"]


@dataclass(frozen=True)
class Finding:
    """Something about the vocabulary that a person should change, or look at.

    Attributes:
        kind: what was found.
        categories: the names of the categories that it concerns; both of a pair.
        text: what was found, with its figures; a sentence without a full stop.
        advice: what to do; a sentence without a full stop.
    """

    kind: FindingKind
    categories: tuple[str, ...]
    text: str
    advice: str

    def __str__(self) -> str:
        """Return the finding as two sentences."""
        return f"{self.text}. {self.advice}."


@dataclass(frozen=True)
class CategoryForecast:
    """What is expected of one category.

    Attributes:
        name: the category's name.
        kind: "thing" or "stuff".
        images: how many support images were held out and segmented; 0 if the category is not built.
        own: the share of their foreground pixels that become the category, 0 to 1; ``None`` without images.
        expected_iou: the expected IoU in images of a project, 0 to 1; ``None`` without images.
        judgement: how well CLIP agrees with the support images; ``None`` if that was not judged.
    """

    name: str
    kind: Kind
    images: int = 0
    own: float | None = None
    expected_iou: float | None = None
    judgement: Judgement | None = None


@dataclass(frozen=True)
class PairForecast:
    """How likely two categories are confused.

    Attributes:
        first: the name of the category that comes first in the vocabulary.
        second: the name of the other one.
        text_cosine: the largest cosine of CLIP's embeddings of their phrases; ``None`` without CLIP.
        confused: the share of foreground pixels of one that become the other, mean of both ways, 0 to 1; ``None``
            unless images of both were held out.
        told_apart: the share of held-out images for which CLIP prefers the right one of the two; ``None`` as above, or
            without CLIP.
        risk: the mean rank of the pair among all pairs, 0 (least) to 1 (most); ``None`` unless both were held out, and
            where no other pair was.
    """

    first: str
    second: str
    text_cosine: float | None = None
    confused: float | None = None
    told_apart: float | None = None
    risk: float | None = None


@dataclass(frozen=True)
class Forecast:
    """What a vocabulary will be good for.

    Attributes:
        categories: in the order of the vocabulary.
        pairs: every two categories, those at most risk first; pairs without a risk come last, by the cosine of texts.
        confusion: (T, T + 1) float64, of the T categories with images, in order: the share of the row's foreground
            pixels that become the column's category; column 0 is background.
        findings: what to change or to look at, the gravest first.
    """

    categories: tuple[CategoryForecast, ...]
    pairs: tuple[PairForecast, ...]
    confusion: NDArray[np.float64]
    findings: tuple[Finding, ...]

    def tried(self) -> tuple[str, ...]:
        """Return the names of the categories whose images were held out: the rows of ``confusion``."""
        return tuple(category.name for category in self.categories if category.images)
