"""The names of masks: two branches' probabilities, fused (C.3)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ovdiff.odise.head import best_of_synonyms


@dataclass(frozen=True)
class Label:
    """A category as ODISE sees it.

    Attributes:
        name: what people call it.
        synonyms: the words that stand for it, its name mostly among them.
        stuff: whether it is stuff, of which an image has one segment.
    """

    name: str
    synonyms: tuple[str, ...]
    stuff: bool


class LabelTexts(NamedTuple):
    """The texts of labels.

    Attributes:
        embeddings: (T, P) unit vectors of CLIP, one a synonym.
        owners: (T,) the index of each text's label.
        labels: the number of labels.
    """

    embeddings: Tensor
    owners: Tensor
    labels: int


class Named(NamedTuple):
    """The probabilities of masks.

    Attributes:
        names: (Q, K); with ``void`` they sum to 1.
        void: (Q,), that a mask shows none of the labels.
    """

    names: Tensor
    void: Tensor


def shares_a_synonym(label: Label, known: Collection[str]) -> bool:
    """Say whether one of a label's synonyms is among the words of the training, without regard to case."""
    return any(synonym.casefold() in known for synonym in label.synonyms)


def branch_logits(scores: Tensor, texts: LabelTexts) -> Tensor:
    """Return a branch's logits (Q, K) from scaled cosines (Q, T): each label has the best of its synonyms."""
    return best_of_synonyms(scores, texts.owners, texts.labels)


def fuse(diffusion: Tensor, void: Tensor, clip: Tensor | None, weights: Tensor, asked: int) -> Named:
    """Fuse the branches (C.3).

    log p = (1 - a) log p_d + a log p_c for each label, and a softmax over labels; the diffusion branch's probability
    of "nothing" scales all of them down. Labels after the first ``asked`` are nobody's: what they win is void too.

    Args:
        diffusion: (Q, K) logits of the diffusion branch.
        void: (Q,), its probability of "nothing".
        clip: (Q, K) logits of CLIP's branch, or ``None`` without one.
        weights: (K,), a of each label.
        asked: how many of the labels were asked for.
    """
    logs = diffusion.log_softmax(dim=1)
    if clip is not None:
        logs = (1 - weights) * logs + weights * clip.log_softmax(dim=1)
    names = (1 - void)[:, None] * logs.softmax(dim=1)
    return Named(names[:, :asked], void + names[:, asked:].sum(dim=1))


def null_probability(diffusion: Tensor, null: Tensor) -> Tensor:
    """Return the probability (Q,) of "nothing" beside labels, from logits (Q, K) and (Q,)."""
    return torch.cat([diffusion, null[:, None]], dim=1).softmax(dim=1)[:, -1]


def fusion_weights(
    labels: Sequence[Label], known: Collection[str], alpha: float, beta: float, *, stuff: bool
) -> Tensor:
    """Return CLIP's weight (K,) for each label: alpha if the training knew it, else beta.

    Without ``stuff``, CLIP has no say about stuff that the training knew.
    """
    weights = []
    for label in labels:
        trained = shares_a_synonym(label, known)
        weights.append((alpha if stuff or not label.stuff else 0.0) if trained else beta)
    return torch.tensor(weights)
