"""Linear discriminant analysis with a temperature that is chosen by leaving examples out. Nothing is trained.

::

    z_g(f) = w_g . f + b_g        w_g = S^-1 m_g        b_g = - m_g . w_g / 2
    log p(g | f) = log softmax over g of  t z_g(f)

``m_g`` is the mean of group g's examples, and S the covariance of all examples about the means of their groups. A share
of the mean variance of all examples is added to every dimension, so that S has an inverse, and a sensible one even if
each group has one example. Both follow in closed form from sums over examples, so that an
example is left out by subtraction. A t below 1 says that examples promise more than what was left out kept; with t = 0
all groups are equally likely. (Training-free adaptation of CLIP by such a discriminant: Wang et al., "A Hard-to-Beat
Baseline for Training-free CLIP-based Adaptation", ICLR 2024. P and R do nothing like it.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TEMPERATURES = (0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
"""The temperatures that are tried, in the order in which the first of equal ones is taken."""

_NEVER = -1e9


@dataclass(frozen=True)
class Examples:
    """Examples that are left out together, such as those of one annotated image.

    Attributes:
        vectors: (n, D) float32.
        groups: (n,) int64, the group that each vector shows.
        weights: (n,) float32, how much each vector counts.
    """

    vectors: Tensor
    groups: Tensor
    weights: Tensor

    def balanced(self, groups: int, total: float) -> "Examples":
        """Return the examples with weights that sum up to ``total`` in each of their groups."""
        sums = torch.zeros(groups).index_add_(0, self.groups, self.weights)
        return Examples(self.vectors, self.groups, total * self.weights / sums[self.groups])


@dataclass(frozen=True)
class Discriminant:
    """What tells groups apart.

    Attributes:
        directions: (D, G) float32.
        offsets: (G,) float32.
        shown: (G,) bool, whether any example shows the group; the others are never likely.
        temperature: t, at least 0.
    """

    directions: Tensor
    offsets: Tensor
    shown: Tensor
    temperature: float = 1.0

    def log_shares(self, vectors: Tensor) -> Tensor:
        """Return log p(g | f) for vectors (..., D), as (..., G); very small for groups that no example shows."""
        return self.logits(vectors).masked_fill(~self.shown, _NEVER).log_softmax(dim=-1)

    def logits(self, vectors: Tensor) -> Tensor:
        """Return t z for vectors (..., D), as (..., G)."""
        logits: Tensor = self.temperature * (vectors @ self.directions + self.offsets)
        return logits


class Sums:
    """The sums over examples from which a discriminant follows: counts (G,), firsts (G, D) and seconds (D, D)."""

    def __init__(self, groups: int, depth: int) -> None:
        """Start without examples."""
        self.counts = torch.zeros(groups, dtype=torch.float64)
        self.firsts = torch.zeros(groups, depth, dtype=torch.float64)
        self.seconds = torch.zeros(depth, depth, dtype=torch.float64)

    def add(self, examples: Examples, sign: float = 1.0) -> None:
        """Add examples, or with a sign of -1 take them out again."""
        vectors, weights = examples.vectors.double(), sign * examples.weights.double()
        self.counts.index_add_(0, examples.groups, weights)
        self.firsts.index_add_(0, examples.groups, vectors * weights[:, None])
        self.seconds += (vectors * weights[:, None]).T @ vectors

    def discriminant(self, shrinkage: float, prior: float = 0.0) -> Discriminant:
        """Return the discriminant of the examples.

        Args:
            shrinkage: the share of the mean variance of all examples that is added to every dimension, above 0.
            prior: as so many examples each group has the mean of all groups besides; with it a group without examples
                is neutral, and counts as shown.
        """
        shown = self.counts > 1e-6
        means = self.firsts / self.counts.clamp(min=1e-6)[:, None]
        within = self.seconds - (self.firsts[shown].T @ means[shown])
        total = self.counts.sum().clamp(min=1e-6)
        centre = self.firsts.sum(dim=0) / total
        variance = (self.seconds.diagonal() / total - centre.square()).mean().clamp(min=1e-9)
        within = within / total + shrinkage * variance * torch.eye(len(within), dtype=torch.float64)
        if prior:
            overall = means[shown].mean(dim=0) if shown.any() else torch.zeros_like(means[0])
            means = (self.firsts + prior * overall) / (self.counts + prior)[:, None]
            shown = torch.ones_like(shown)
        directions = torch.linalg.solve(within, means.T)
        offsets = -0.5 * (means * directions.T).sum(dim=1)
        return Discriminant(directions.float(), offsets.float(), shown)


@dataclass(frozen=True)
class LeftOut:
    """Examples with the discriminant of all others.

    Attributes:
        part: the number of the part that was left out.
        examples: those of its examples whose groups the others show.
        discriminant: the discriminant of the others, at temperature 1.
    """

    part: int
    examples: Examples
    discriminant: Discriminant


def leave_out(
    parts: Sequence[Examples], always: Examples | None, groups: int, shrinkage: float, prior: float = 0.0
) -> list[LeftOut]:
    """Return each part with the discriminant of the others; parts none of whose groups the others show are left away.

    Args:
        parts: the examples, by what is left out together; at least one.
        always: examples that are never left out.
        groups: the number of groups.
        shrinkage: see :meth:`Sums.discriminant`.
        prior: see :meth:`Sums.discriminant`.
    """
    total = sums_of([*parts, *([] if always is None else [always])], groups)
    found = []
    for number, part in enumerate(parts):
        total.add(part, -1.0)
        others = total.discriminant(shrinkage, prior)
        total.add(part)
        known = others.shown[part.groups]
        if bool(known.any()):
            kept = Examples(part.vectors[known], part.groups[known], part.weights[known])
            found.append(LeftOut(number, kept, others))
    return found


def sums_of(parts: Sequence[Examples], groups: int) -> Sums:
    """Return the sums over all examples of at least one part."""
    sums = Sums(groups, parts[0].vectors.shape[1])
    for part in parts:
        sums.add(part)
    return sums


def best_temperature(left_out: Sequence[LeftOut], besides: Sequence[Tensor] | None = None) -> float:
    """Return the temperature by which left-out examples are the likeliest; 0 if there are none.

    Args:
        left_out: the examples that were left out, each group of a part weighs as its weights say.
        besides: for each of them the logits (n, G) to which the discriminant's are added, such as CLIP's of texts.
    """
    likelihoods = dict.fromkeys(TEMPERATURES, 0.0)
    for number, each in enumerate(left_out):
        examples, logits = each.examples, each.discriminant.logits(each.examples.vectors)
        logits = logits.masked_fill(~each.discriminant.shown, _NEVER)
        for temperature in TEMPERATURES:
            mixed = temperature * logits + (0.0 if besides is None else besides[number])
            own = mixed.log_softmax(dim=1).gather(1, examples.groups[:, None])[:, 0]
            likelihoods[temperature] += float((examples.weights * own).sum())
    return max(TEMPERATURES, key=lambda temperature: likelihoods[temperature])


@dataclass(frozen=True)
class LearnedViews:
    """What CLIP's views of annotated crops, or of whole annotated images, say about another view.

    Attributes:
        discriminant: tells things apart by a view.
        columns: the discriminant's group of each label id; words that nobody asks for are not in it.
        logit_scale: how many nats a cosine of an image and a text is worth.
    """

    discriminant: Discriminant
    columns: Mapping[int, int]
    logit_scale: float

    def cosines(self, views: Tensor, labels: Sequence[int]) -> NDArray[np.float64]:
        """Return what is added to the cosines of views (N, P) with the texts of label ids, as (N, labels).

        Labels that it does not know get the mean of those that it knows.
        """
        found = self.discriminant.logits(views.float().cpu()).double().numpy() / max(self.logit_scale, 1e-6)
        found = found - found.mean(axis=1, keepdims=True)
        added: NDArray[np.float64] = np.zeros((len(found), len(labels)))
        for place, label in enumerate(labels):
            if label in self.columns:
                added[:, place] = found[:, self.columns[label]]
        return added
