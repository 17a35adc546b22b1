"""The grounding loss: captions in place of names (C.2)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ovdiff.odise.training.processes import rows_of_all


def grounding(scores: Tensor, counted: Tensor | None = None) -> Tensor:
    """Return how well each caption fits each image, (B, C), from scores (B, Q, C, W) of masks with words.

    A word's score is the mean over masks, weighed by a softmax over the masks; a caption's is the mean over its words.
    With ``counted`` (B, Q) bool only these masks can carry a word.
    """
    left_out = torch.zeros_like(scores)
    if counted is not None:
        left_out = left_out.masked_fill(~counted[:, :, None, None], -1e4)
    return ((scores + left_out).softmax(dim=1) * scores).sum(dim=1).mean(dim=-1)


def grounding_loss(scores: Tensor, excused: Tensor, counted: Tensor | None = None) -> Tensor:
    """Return the loss of captions and images that belong together, in the same order (C.2).

    Args:
        scores: (b, Q, B, W), scale * cosine of the masks of this process's images with each caption's words, of the
            images of all processes.
        excused: (B, B) bool: image i and caption j are no negatives of one another. The diagonal is not read.
        counted: (b, Q) bool, the masks that can carry a word; ``None`` for all.
    """
    fits = rows_of_all(grounding(scores, counted))
    own = torch.eye(len(fits), dtype=torch.bool, device=fits.device)
    masked = fits.masked_fill(excused & ~own, -torch.inf)
    pairs = torch.arange(len(fits), device=fits.device)
    return (F.cross_entropy(masked, pairs) + F.cross_entropy(masked.T, pairs)) / 2


def true_of_others(said: Sequence[frozenset[str]], heard: Sequence[frozenset[str]]) -> Tensor:
    """Return which captions are also true of which images, (B, B) bool: rows are images, columns are captions.

    Args:
        said: the nouns that a caption drew.
        heard: all nouns of all captions of an image. A caption whose nouns are all among them is true of the image.
    """
    return torch.tensor([[nouns <= known for nouns in said] for known in heard])
