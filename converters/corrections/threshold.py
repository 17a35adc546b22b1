"""What scores are good for: below which score regions cost more than they save, and from which they can be trusted.

A predicted region is *useful* if the person kept its label and at least half of its shape (IoU of 0.5 or more). Both
thresholds are edges of the ten bins of `reliability`:

    hide below    the edge below which useless regions outnumber useful ones by most
    trust from    the lowest edge from which at least 90 % were accepted as they were, even at the low end of the
                  interval of that share

A threshold is given only if the figures bear it: the interval of the useful share below it stays under one half.
"""

from dataclasses import dataclass

from converters.metrics.intervals import wilson_interval
from converters.metrics.reliability import Reliability

TRUSTED_SHARE = 0.9
FEWEST_REGIONS = 30
"""Fewer scored regions than this are too few to say anything about thresholds."""


@dataclass(frozen=True)
class ThresholdAdvice:
    """Two thresholds for scores, None where the figures bear none, with the regions behind each.

    Attributes:
        hide_below: regions with a lower score cost more than they save.
        hidden, hidden_useful: how many regions have a lower score, and how many of these were useful all the same.
        trust_from: regions with this score or a higher one were nearly always accepted.
        trusted, trusted_accepted: how many regions these are, and how many were accepted as they were.
        is_enough: whether there are enough scored regions to say anything.
    """

    hide_below: float | None
    hidden: int
    hidden_useful: int
    trust_from: float | None
    trusted: int
    trusted_accepted: int
    is_enough: bool


def threshold_advice(reliability: Reliability) -> ThresholdAdvice:
    """Derive both thresholds from the bins of a reliability diagram."""
    is_enough = reliability.scored_regions >= FEWEST_REGIONS
    hide_below, hidden, hidden_useful = _hide_below(reliability) if is_enough else _NONE
    trust_from, trusted, trusted_accepted = _trust_from(reliability) if is_enough else _NONE
    return ThresholdAdvice(hide_below, hidden, hidden_useful, trust_from, trusted, trusted_accepted, is_enough)


_Edge = tuple[float | None, int, int]
_NONE: _Edge = (None, 0, 0)


def _hide_below(reliability: Reliability) -> _Edge:
    """Return the edge, the regions below it, and the useful ones among them."""
    best, regions, useful = _NONE, 0, 0
    most_spared = 0
    for bin_ in reliability.bins:
        regions += bin_.regions
        useful += bin_.useful
        interval = wilson_interval(useful, regions)
        spared = regions - 2 * useful  # the useless ones less the useful ones
        if spared > most_spared and interval is not None and interval[1] < 0.5:
            best, most_spared = (bin_.high, regions, useful), spared
    return best


def _trust_from(reliability: Reliability) -> _Edge:
    """Return the edge, the regions from it on, and the accepted ones among them."""
    best, regions, accepted = _NONE, 0, 0
    for bin_ in reversed(reliability.bins):
        regions += bin_.regions
        accepted += bin_.accepted
        interval = wilson_interval(accepted, regions)
        if bin_.regions and interval is not None and interval[0] >= TRUSTED_SHARE:
            best = (bin_.low, regions, accepted)
    return best
