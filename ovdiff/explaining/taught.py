"""What lessons say at a place, as it is told. Never imports torch.

Lessons know groups of words: background with all anchors, all things together, and each kind of stuff. At a pixel of
the working image the words c, d whose group competes get, by the rule of :mod:`ovdiff.segmenting.lessons`::

    score_c  <-  s* + r_c - max over d of r_d,    r_c = score_c + weight * log_share of c's group
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ovdiff.bank.lessons import LessonSource
from ovdiff.segmentation import PartEvidence

BACKGROUND_NAME = "background"
THINGS_NAME = "things"


@dataclass(frozen=True)
class TaughtGroup:
    """A group of words that lessons do not tell apart.

    Attributes:
        name: "background", "things", or the kind of stuff.
        words: the names of the rivals that are in it.
        competes: whether lessons show it, so that it gains or loses by them.
        log_share: l, the mean log share at the place over the windows of all extractors that are used, in nats. No
            share counts as less than exp(-12).
        share: the same as a share; those of the groups that compete sum to 1. Others have 0.
    """

    name: str
    words: tuple[str, ...]
    competes: bool
    log_share: float
    share: float


@dataclass(frozen=True)
class TaughtExtractor:
    """What lessons say by the features of one extractor.

    Attributes:
        name: the extractor.
        used: whether its lessons are used.
        before: the share of cells of left-out annotated images that are right by the prototypes alone; ``None`` if no
            lesson has cells of the extractor.
        after: that share with the other images' lessons.
        shares: what its own windows say at the place: the share of each group, in the order of ``Taught.groups``; () if
            its lessons are not used.
    """

    name: str
    used: bool
    before: float | None
    after: float | None
    shares: tuple[float, ...]

    @property
    def why_not(self) -> str:
        """Why its lessons are not used, as a sentence; "" if they are."""
        if self.used:
            return ""
        if self.before is None or self.after is None:
            return "No lesson has cells of it."
        return (
            f"Of left-out annotated images {self.before:.1%} of the cells are right without lessons, and "
            f"{self.after:.1%} with them."
        )


@dataclass(frozen=True)
class AlikeLesson:
    """A lesson with annotated cells of the favoured group that are like the place.

    Attributes:
        word: the word that the person gave to these cells; "background" for what was left without one.
        cosine: the mean of ``cosines``.
        cosines: by extractor, the mean over the place of the largest cosine with a cell of that word.
        source: where the lesson comes from.
    """

    word: str
    cosine: float
    cosines: Mapping[str, float]
    source: LessonSource


@dataclass(frozen=True)
class Taught:
    """What lessons say at a place.

    Attributes:
        lessons: the number of lessons in force.
        weight: w, the cosine that a nat of a log share is worth.
        groups: the groups of the rivals, background first.
        extractors: the extractors, used or not.
        alike: up to three lessons with cells of the favoured group that are most like the place, the best first.
        part_without: what CLIP would have seen in the place's part without crops of annotated things; ``None`` if CLIP
            did not look there, or if crops taught nothing.
    """

    lessons: int
    weight: float
    groups: tuple[TaughtGroup, ...]
    extractors: tuple[TaughtExtractor, ...]
    alike: tuple[AlikeLesson, ...]
    part_without: PartEvidence | None = None

    def favoured(self) -> TaughtGroup | None:
        """Return the group that lessons favour; ``None`` if no groups compete."""
        competing = [group for group in self.groups if group.competes]
        return max(competing, key=lambda group: group.log_share, default=None)
