"""A text encoder that counts its passes, in place of CLIP's."""

from collections.abc import Sequence

import torch
from torch import Tensor


class CountingTexts:
    """Stands in for a CLIP: a text is the unit vector of its length, and each pass is counted."""

    def __init__(self) -> None:
        self.passes: list[list[str]] = []

    def embed_texts(self, texts: Sequence[str]) -> list[Tensor | None]:
        if texts:
            self.passes.append(list(texts))
        angles = torch.tensor([float(len(text)) for text in texts])
        return list(torch.stack([angles.cos(), angles.sin()], dim=1))
