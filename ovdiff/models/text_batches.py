"""Token rows become vectors in batches whose shape depends on each row alone, for every text encoder of CLIP's kind."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_TEXTS = 16
_STEP = 8
"""Every pass of the text encoder has ``_TEXTS`` texts, and its width in tokens is a multiple of ``_STEP``."""


@torch.inference_mode()
def encode_texts(
    rows: Sequence[list[int]], length: int, padding: int, encode: Callable[[Tensor], Tensor], *, unit: bool = True
) -> list[Tensor | None]:
    """Encode token rows into unit vectors (P,); a row of more than ``length`` tokens gives ``None``.

    Without ``unit`` the vectors keep their lengths.

    The shape of a row's pass depends on the row alone: the row is padded to the next multiple of 8 tokens, the batch to
    its full size. A library chooses its kernels by the shape, and with the kernels the order of its additions: in
    bfloat16 a shorter text in the same batch moved another text's vector by 1e-3. The encoder is causal and reads the
    vector off the end token, so padding to less than the whole context changes no vector.
    """
    found: list[Tensor | None] = [None] * len(rows)
    for width, indices in _by_width(rows, length).items():
        for start in range(0, len(indices), _TEXTS):
            batch = indices[start : start + _TEXTS]
            tokens = torch.full((_TEXTS, width), padding)
            for place, index in enumerate(batch):
                tokens[place, : len(rows[index])] = torch.tensor(rows[index])
            raw = encode(tokens).float()
            vectors = F.normalize(raw, dim=1) if unit else raw
            for place, index in enumerate(batch):
                found[index] = vectors[place].clone()  # A view would keep the whole batch in memory.
    return found


def _by_width(rows: Sequence[list[int]], length: int) -> dict[int, list[int]]:
    """Group the indices of rows of at most ``length`` tokens by the width that they are padded to."""
    groups: dict[int, list[int]] = {}
    for index, row in enumerate(rows):
        if len(row) <= length:
            groups.setdefault(min(length, -(-len(row) // _STEP) * _STEP), []).append(index)
    return groups
