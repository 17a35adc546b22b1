"""What the prefilter removed, by how much it fell short, and whether it would have won."""

from dataclasses import replace

from torch import Tensor

from ovdiff.explaining.explanation import Removal, RemovalRule
from ovdiff.explaining.votes import sums, votes_at
from ovdiff.presets.segmenting_settings import PrefilterSettings
from ovdiff.segmenting.image_segmenter import ImageSegmenter
from ovdiff.segmenting.matching import voting_classes
from ovdiff.segmenting.prefilter import Choice, first_bar
from ovdiff.segmenting.steps import Match


def removals(segmenter: ImageSegmenter, match: Match, weights: Tensor) -> tuple[Removal, ...]:
    """Return the categories that the prefilter removed; those that would have won at a place come first.

    Without the prefilter they would compete with their foreground, and their background prototypes would vote too.

    Args:
        segmenter: the half that segments; call this inside ``with segmenter.parts.models.lock``.
        match: the image, and what competes for it.
        weights: (h, w) float64, how much each pixel of the working image counts for the place.
    """
    words, preset = match.competition.vocabulary, segmenter.parts.preset
    chosen = segmenter.prefiltered(match.encoded, words, None if match.lessons is None else match.lessons.images)
    if chosen is None or len(match.candidates) == len(words.categories):
        return ()
    things, choice = chosen
    scores = _scores_of_all(segmenter, match, weights)
    best = max(scores, key=lambda label: scores[label])
    found = []
    for position, index in enumerate(things):
        if position not in choice.kept:
            rule, value, bar = shortfall(choice, position, preset.prefilter)
            asked = index < match.competition.asked
            score, wins = scores[index + 1], index + 1 == best
            found.append(Removal(words.categories[index].name, not asked, rule, value, bar, score, wins))
    return tuple(sorted(found, key=lambda removal: -removal.score))


def shortfall(choice: Choice, position: int, settings: PrefilterSettings) -> tuple[RemovalRule, float, float]:
    """Return by which rule the prefilter removed a thing, the thing's figure, and the figure that it needed."""
    similarity = float(choice.similarities[position])
    if position not in choice.likely:
        bar = first_bar(choice.similarities, settings)
        if similarity < bar:
            return "average", similarity, bar
        return "limit", similarity, min(float(choice.similarities[index]) for index in choice.likely)
    fits = dict(choice.fits)
    best_with = max((fit for subset, fit in choice.fits if position in subset), default=float("-inf"))
    return "joint caption", best_with, max(fits.values())


def _scores_of_all(segmenter: ImageSegmenter, match: Match, weights: Tensor) -> dict[int, float]:
    """Return the score of each class at the place by its label id, had nothing been removed."""
    parts = segmenter.parts
    everything = replace(match, candidates=list(range(len(match.competition.vocabulary.categories))))
    votes = votes_at(weights, everything, parts.preset, parts.models.device)
    labels = [index + 1 for index in voting_classes(everything.candidates, parts.preset)]
    if parts.preset.matching.background == "threshold":
        labels = [0, *labels]
    scores = dict(zip(labels, sums(votes).tolist(), strict=True))
    if 0 in scores:
        scores[0] = max(scores[0], 0.0)  # Where all scores are negative there is background.
    return scores
