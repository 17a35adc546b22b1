"""Patches of CLIP against words: cosines, and CLIP surgery's similarity without what all words have in common."""

import torch.nn.functional as F
from torch import Tensor


def cosines(patches: Tensor, words: Tensor) -> Tensor:
    """Return the cosine of each patch with each word, (B, W, h, w), of patches (B, P, h, w) and unit vectors (W, P)."""
    return (words @ F.normalize(patches, dim=1).flatten(2)).reshape(len(patches), len(words), *patches.shape[2:])


def without_redundance(patches: Tensor, whole: Tensor, words: Tensor, empty: Tensor, scale: float) -> Tensor:
    """Return CLIP surgery's similarity of each patch with each word, (B, W, h, w).

    With a patch f and a word t as unit vectors, the feature of both is f * t, element by element. It is weighted by how
    much the whole window shows the word, ``w = W softmax(scale cos(whole, t))``. What a patch's features have in common
    is their mean over the words; it is taken away, and the elements are added up. As the sum is linear::

        s_t = w_t cos(f, t) - mean over u of w_u cos(f, u)

    A word alone has nothing in common with others; then the empty text takes their place: ``cos(f, t) - cos(f, "")``.

    Args:
        patches: (B, P, h, w).
        whole: (B, P), the window's own embedding.
        words: (W, P), unit vectors.
        empty: (P,), the unit vector of the empty text.
        scale: how sharp the weights are.
    """
    each = cosines(patches, words)
    if len(words) == 1:
        return each - cosines(patches, empty[None])
    weights = (scale * F.normalize(whole, dim=1) @ words.T).softmax(dim=1) * len(words)
    weighted = each * weights[:, :, None, None]
    return weighted - weighted.mean(dim=1, keepdim=True)
