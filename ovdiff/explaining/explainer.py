"""Explains a place of an image: votes, stages, what the prefilter removed, and what the prototypes were made of."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.bank.recipe import Recipes
from ovdiff.building.category_builder import CategoryBuilder
from ovdiff.explaining.explanation import Explanation, Prototype, Rival, Vote, Where
from ovdiff.explaining.lessons import part_without, taught_at
from ovdiff.explaining.places import pixel_weights, place_mask
from ovdiff.explaining.removals import removals
from ovdiff.explaining.sources import Sources
from ovdiff.explaining.stages import Trace, trace
from ovdiff.explaining.taught import BACKGROUND_NAME
from ovdiff.explaining.votes import sums, votes_at
from ovdiff.segmentation import PartEvidence
from ovdiff.segmenting.anchors import Competition
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.segmenting.image_segmenter import ImageSegmenter
from ovdiff.segmenting.steps import PART_CHECK
from ovdiff.vocabulary import Vocabulary

_MOST_SOURCES = 16
"""The prototypes whose sources are looked for; a mask may have hundreds of nearest ones, most for a cell or two."""


class Explainer:
    """Explains labels of images. Safe for several threads; the models run under their own lock."""

    def __init__(self, segmenter: ImageSegmenter, builder: CategoryBuilder, bank: Bank, recipes: Recipes) -> None:
        """Take the two halves of an engine, the store of their prototype sets, and the recipes of both."""
        self._segmenter, self._builder, self._bank, self._recipes = segmenter, builder, bank, recipes

    def explain(self, encoded: EncodedImage, vocabulary: Vocabulary, where: Where) -> Explanation:
        """Say why a place of an encoded image has its label (see :meth:`ovdiff.engine.Engine.explain`)."""
        mask = place_mask(where, encoded.size_hw)
        weights = pixel_weights(mask, (encoded.working.shape[0], encoded.working.shape[1]))
        parts = self._segmenter.parts
        with parts.models.lock:
            match = self._segmenter.match(encoded, vocabulary)
            seen = trace(self._segmenter, match, mask, weights)
            labels = seen.labels
            winner, runner_up, named = _finalists(seen, match.competition.asked)
            told = list(dict.fromkeys(labels[row] for row in (winner, runner_up, named) if row is not None))
            votes = votes_at(weights, match, parts.preset, parts.models.device, told)
            removed = removals(self._segmenter, match, weights)
            segmentation = self._segmenter.segmentation(match, seen.last, vocabulary)
            rivals = _rivals(labels, sums(votes).tolist(), match.competition)
            part = _part_at(mask, segmentation.parts, _name_before_check(seen, rivals))
            taught = taught_at(self._segmenter, match, weights, labels)
            if taught is not None and seen.before_check is not None and part is not None:
                taught = replace(taught, part_without=part_without(self._segmenter, match, seen.before_check, part))
        sources = Sources(self._builder, self._bank, self._recipes, match.competition.vocabulary.categories)
        shown = [sources.of(prototype) for prototype in _that_count_most(votes, told)]
        return Explanation(
            mask,
            rivals,
            winner,
            runner_up,
            named,
            votes,
            seen.stages,
            removed,
            part,
            segmentation,
            vocabulary.names,
            tuple(shown),
            sources.support,
            taught,
        )


def _finalists(seen: Trace, asked: int) -> tuple[int, int | None, int | None]:
    """Return the places of the winner, of the best class with another label, and of that with the label in the end."""
    scores, labels = seen.stages[0].scores, seen.labels
    drawn = [label if label <= asked else 0 for label in labels]  # Where an anchor wins there is background.
    order = sorted(range(len(labels)), key=lambda row: -scores[row])
    winner = next((row for row in order if drawn[row] == seen.decided), order[0])
    runner_up = next((row for row in order if drawn[row] != drawn[winner]), None)
    return winner, runner_up, next((row for row in order if drawn[row] == seen.stages[-1].label), None)


def _rivals(labels: Sequence[int], scores: Sequence[float], competition: Competition) -> tuple[Rival, ...]:
    names = (BACKGROUND_NAME, *competition.vocabulary.names)
    return tuple(
        Rival(names[label], label, label > competition.asked, score)
        for label, score in zip(labels, scores, strict=True)
    )


def _that_count_most(votes: Sequence[Vote], told: Sequence[int]) -> list[Prototype]:
    """Return the prototypes that lead a vote for one of the finalists, those with the most weight first."""
    weights: dict[Prototype, float] = {}
    for vote in votes:
        for label in told:
            for nearest in vote.nearest.get(label, ())[:1]:
                weights[nearest.prototype] = weights.get(nearest.prototype, 0.0) + vote.weight * nearest.share
    return sorted(weights, key=lambda prototype: -weights[prototype])[:_MOST_SOURCES]


def _name_before_check(seen: Trace, rivals: Sequence[Rival]) -> str:
    """Return the word that was best at the place when the part check began; "" if there is no part check."""
    names = [stage.name for stage in seen.stages]
    if PART_CHECK not in names:
        return ""
    scores = seen.stages[names.index(PART_CHECK) - 1].scores
    return rivals[int(np.argmax(scores))].name


def _part_at(mask: NDArray[np.bool_], parts: Sequence[PartEvidence], name: str) -> PartEvidence | None:
    """Return what CLIP saw in the smallest part of a word whose box holds the middle of the place."""
    rows, columns = np.nonzero(mask)
    x, y = (columns.mean() + 0.5) / mask.shape[1], (rows.mean() + 0.5) / mask.shape[0]
    around = [
        part
        for part in parts
        if part.by_pixels == name and part.box[0] <= x <= part.box[2] and part.box[1] <= y <= part.box[3]
    ]
    return min(around, key=lambda part: part.area_share, default=None)
