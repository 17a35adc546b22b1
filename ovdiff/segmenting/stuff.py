"""The stuff filter (A.9) drops background prototypes that look like stuff of the vocabulary.

A boat's background is mostly water. Without the filter, background would win over a category "water".
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def keep_background(backgrounds: Tensor, stuff: Tensor, max_similarity: float) -> Tensor:
    """Say which background prototypes of things stay.

    Args:
        backgrounds: (Q, D) float32 background prototypes of things, raw or normalised.
        stuff: (S, D) the foreground prototypes of all stuff categories, on the same device.
        max_similarity: a background prototype is dropped if its cosine with a stuff prototype is larger than this.

    Returns:
        (Q,) bool, true for the background prototypes that stay.
    """
    if not len(stuff) or not len(backgrounds):
        return torch.ones(len(backgrounds), dtype=torch.bool, device=backgrounds.device)
    similarities = F.normalize(backgrounds, dim=1) @ F.normalize(stuff, dim=1).T
    return similarities.amax(dim=1) <= max_similarity
