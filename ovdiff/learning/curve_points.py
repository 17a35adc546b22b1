"""A learning curve as it is told. Never imports torch. Tested by tests/ovdiff/learning/test_curve.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RightShares:
    """How an extractor did on annotated images that were left out.

    Attributes:
        before: the share of cells that is right by the prototypes alone.
        after: that share with the other images' lessons.
        used: whether the extractor uses lessons, because they make it better.
    """

    before: float
    after: float
    used: bool


@dataclass(frozen=True)
class CurvePoint:
    """How the first lessons did on images that were left out.

    Attributes:
        lessons: how many lessons.
        shares: by extractor, the shares of right cells.
    """

    lessons: int
    shares: Mapping[str, RightShares]

    @property
    def before(self) -> float:
        """The mean share over extractors that is right by the prototypes alone."""
        return _mean([each.before for each in self.shares.values()])

    @property
    def after(self) -> float:
        """The mean share over extractors that is right as lessons are used: with them, where they help."""
        return _mean([each.after if each.used else each.before for each in self.shares.values()])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
