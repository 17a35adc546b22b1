"""The votes at a place: each extractor in each window, by the function that segments (see the package's formula)."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.explaining.explanation import Nearest, Prototype, Vote
from ovdiff.explaining.places import shrink
from ovdiff.presets import Preset
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.segmenting.matching import voting_classes
from ovdiff.segmenting.segmenter import PrototypeTable, class_scores_with_rows
from ovdiff.segmenting.steps import Match
from ovdiff.segmenting.windows import Window


@dataclass(frozen=True)
class Cells:
    """What one extractor says in N cells of one window.

    Attributes:
        weights: (N,) float64, how much each cell counts for the place.
        scores: (C, N) float64, the largest cosine of each class.
        rows: (C, N) the row of the table that it is the cosine with; -1 for a class without rows.
    """

    weights: NDArray[np.float64]
    scores: NDArray[np.float64]
    rows: NDArray[np.int64]


def votes_at(
    weights: Tensor, match: Match, preset: Preset, device: torch.device, told: Collection[int] = ()
) -> tuple[Vote, ...]:
    """Return the votes at a place, extractor by extractor.

    Args:
        weights: (h, w) float64, how much each pixel of the working image counts; they sum to 1.
        match: the image, and what competes for it.
        preset: the settings by which features become scores.
        device: the device that computes.
        told: the label ids of which the nearest prototypes are wanted.
    """
    classes = voting_classes(match.candidates, preset)
    per_vote = weights / vote_counts(match.encoded, match.tables)
    threshold = preset.matching.background_threshold if preset.matching.background == "threshold" else None
    found = []
    for name, table in match.tables.items():
        gated = table.gated(match.candidates).to(device)
        for window, features in windows_of(match.encoded, name):
            cells = cells_at(window, features, per_vote, gated, classes)
            if cells is None:
                continue
            total = float(cells.weights.sum())
            scores = (cells.scores @ cells.weights / total).tolist()
            nearest = {
                label + 1: _nearest(cells, row, gated, name, match)
                for row, label in enumerate(classes)
                if label + 1 in told
            }
            box = (window.left, window.top, window.width, window.height)
            votes = scores if threshold is None else [threshold, *scores]
            found.append(Vote(name, box, total, tuple(votes), nearest))
    return tuple(found)


def sums(votes: Sequence[Vote]) -> NDArray[np.float64]:
    """Return the sum of the votes for each rival, (C,): its score at the place."""
    weights, scores = np.array([vote.weight for vote in votes]), np.array([vote.scores for vote in votes])
    total: NDArray[np.float64] = weights @ scores
    return total


def windows_of(encoded: EncodedImage, name: str) -> Iterator[tuple[Window, Tensor]]:
    """Yield an extractor's windows, each with its features (D, h, w)."""
    for batch in encoded.features[name]:
        yield from zip(batch.windows, batch.features, strict=True)


def vote_counts(encoded: EncodedImage, names: Iterable[str]) -> Tensor:
    """Return how often some extractors vote on each pixel of the working image, (h, w) float64."""
    counts = np.zeros(encoded.working.shape[:2])
    for name in names:
        for window, _ in windows_of(encoded, name):
            counts[window.slices] += window.weight
    return torch.from_numpy(counts)


def cells_at(
    window: Window, features: Tensor, per_vote: Tensor, table: PrototypeTable, classes: Sequence[int]
) -> Cells | None:
    """Return what the cells of a window (D, h, w) that count for the place say; ``None`` if none of them counts."""
    inside = window.weight * per_vote[window.slices]
    if not inside.any():
        return None
    weights = shrink(inside, (features.shape[1], features.shape[2])).flatten()
    counting = weights.nonzero()[:, 0]
    some = features.flatten(1)[:, counting][None, :, None]
    scores, rows = class_scores_with_rows(some, table, classes)
    return Cells(weights[counting].numpy(), scores[0, :, 0].double().numpy(force=True), rows[0, :, 0].numpy(force=True))


def _nearest(cells: Cells, column: int, table: PrototypeTable, extractor: str, match: Match) -> tuple[Nearest, ...]:
    """Return the prototypes that are the nearest of a class in some of the cells, the largest share first."""
    rows, which = np.unique(cells.rows[column], return_inverse=True)
    if rows[0] < 0:
        return ()
    weights = np.bincount(which, cells.weights)
    cosines = np.bincount(which, cells.weights * cells.scores[column]) / weights
    shares = weights / weights.sum()
    names = [_prototype(table, int(row), extractor, match) for row in rows]
    return tuple(Nearest(names[i], float(shares[i]), float(cosines[i])) for i in np.argsort(-shares, kind="stable"))


def _prototype(table: PrototypeTable, row: int, extractor: str, match: Match) -> Prototype:
    origin = table.origin(row)
    owner = match.competition.vocabulary.categories[origin.owner].name
    return Prototype(extractor, owner, origin.side, origin.kind, origin.number, origin.image)
