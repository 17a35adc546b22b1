"""Regions that show none of the asked words, and their groups: candidates for labels. Never imports torch.

::

    unlike(a, b) = 1 - [ (1 - w) cos(CLIP's view of a, of b)  +  w cos(shares of words of a, of b) ],    w = 0.3
    rank(group)  = sum over images of the largest novelty of the group's regions in that image

A group is complete-linkage: no two of its regions are more unlike than a limit. So one thing makes a few groups rather
than two things one group. An image counts once in a rank, however many pieces of one thing it shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_REGIONS = 3000
"""The most novel regions of a folder are grouped, so many at most: all pairs are compared, which takes 72 MB here."""

_WORDS_WEIGHT = 0.3
_MOST_UNLIKE = 0.4
"""Both, and :data:`ovdiff.novelties.finder.LEAST_NOVELTY`, were chosen on crowded scenes of the `thresholds` split,
generation seed 45, for four triples: groups of 12 of 12 words were among the first five there, with and without
prototypes of anchors. Unlikenesses of 0.3 and 0.5 gave as many with these prototypes, and 0.3 fewer without."""


@dataclass(frozen=True, eq=False)
class NovelRegion:
    """A connected region of an image that shows none of the asked words.

    Attributes:
        box: (x0, y0, x1, y1) as shares of the image's width and height.
        area_share: the share of the image that the region covers.
        novelty: CLIP's share of all words but the asked ones, in [0, 1].
        likeness: the mean over the region of the best score by Eq. 4 of asked words and their background, a cosine.
        words: the other words that were compared, the same ones for all regions of a vocabulary.
        shares: (W,) float32, CLIP's share of each of ``words``.
        embedding: (P,) float32, CLIP's unit vector of the region with its surroundings.
        mask: (h, w) bool at working size, or ``None`` where it was not kept, because many masks take much memory.
    """

    box: tuple[float, float, float, float]
    area_share: float
    novelty: float
    likeness: float
    words: tuple[str, ...]
    shares: NDArray[np.float32]
    embedding: NDArray[np.float32]
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Example:
    """A region of a group, in its image."""

    image: str
    region: NovelRegion


@dataclass(frozen=True)
class NoveltyGroup:
    """Regions that look alike: a candidate for a label.

    Attributes:
        rank: the sum over images of the largest novelty; groups are in the order of their ranks.
        examples: all regions, the most novel first.
        looks_like: the likeliest of the other words by CLIP, with their mean shares, the likeliest first.
    """

    rank: float
    examples: tuple[Example, ...]
    looks_like: tuple[tuple[str, float], ...]

    @property
    def images(self) -> int:
        """In how many images the group occurs."""
        return len({example.image for example in self.examples})

    @property
    def likeness(self) -> float:
        """The mean likeness of its regions to the asked words' prototypes, a cosine."""
        return float(np.mean([example.region.likeness for example in self.examples]))


def group_regions(found: Sequence[Example], told: int = 3) -> list[NoveltyGroup]:
    """Group regions that look alike, the group of the highest rank first.

    Args:
        found: the regions of all images; they must have been compared with the same words.
        told: how many words each group is told to look like.
    """
    chosen = sorted(found, key=lambda example: -example.region.novelty)[:MOST_REGIONS]
    numbers = _cluster([example.region for example in chosen])
    groups = [
        _group([example for example, own in zip(chosen, numbers, strict=True) if own == number], told)
        for number in sorted(set(numbers))
    ]
    return sorted(groups, key=lambda group: -group.rank)


def _cluster(regions: Sequence[NovelRegion]) -> list[int]:
    if len(regions) < 2:
        return [0] * len(regions)
    from sklearn.cluster import AgglomerativeClustering

    looks = _unit(np.stack([region.embedding for region in regions])) * (1 - _WORDS_WEIGHT) ** 0.5
    words = _unit(np.stack([region.shares for region in regions])) * _WORDS_WEIGHT**0.5
    model = AgglomerativeClustering(
        n_clusters=None, distance_threshold=_MOST_UNLIKE, metric="cosine", linkage="complete"
    )
    numbers: list[int] = model.fit_predict(np.concatenate([looks, words], axis=1)).tolist()
    return numbers


def _group(examples: Sequence[Example], told: int) -> NoveltyGroup:
    best: dict[str, float] = {}
    for example in examples:
        best[example.image] = max(best.get(example.image, 0.0), example.region.novelty)
    words, shares = examples[0].region.words, np.mean([example.region.shares for example in examples], axis=0)
    likeliest = np.argsort(-shares, kind="stable")[:told].tolist()
    return NoveltyGroup(
        sum(best.values()), tuple(examples), tuple((words[index], float(shares[index])) for index in likeliest)
    )


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = rows / np.maximum(lengths, 1e-12)
    return unit
