"""CLIP's image encoder in pieces: its input, its blocks with their parts, and what follows the last block.

Methods that change how the last blocks attend, such as those of :mod:`ovdiff.baselines`, put the pieces together in
another way. The pieces are the libraries' own modules; the weights are not copied.

Tested by tests/ovdiff/baselines/test_attention.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.presets.part_settings import Resampling, Statistics

Embed = Callable[[NDArray[np.uint8], tuple[int, int], Statistics, Resampling], Tensor]


@dataclass(frozen=True)
class Block:
    """A block of the encoder: ``x + project(attention(qkv(x)))``, and then ``x + feed(x)``.

    Attributes:
        heads: the number of heads.
        qkv: from states (B, N, D) to queries, keys and values (B, N, D) each, the norm before them included.
        project: the linear map after the attention.
        feed: the feed-forward part, the norm before it included, without its residual.
        run: the whole block as the library has it.
    """

    heads: int
    qkv: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
    project: Callable[[Tensor], Tensor]
    feed: Callable[[Tensor], Tensor]
    run: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ClipTower:
    """The encoder.

    Attributes:
        embed: from images (B, H, W, 3) uint8 to the first block's input (B, 1 + h*w, D), the class token first. Its
            other arguments are the size (H, W) in px to which images are stretched, and how pixels are prepared.
        blocks: in their order.
        finish: the last norm and the projection into the space of texts, (B, N, D) to (B, N, P).
    """

    embed: Embed
    blocks: tuple[Block, ...]
    finish: Callable[[Tensor], Tensor]


def transformers_block(layer: Any, heads: int) -> Block:
    """Return a block of transformers' CLIP in pieces."""
    attention = layer.self_attn

    def qkv(states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        normed = layer.layer_norm1(states)
        return attention.q_proj(normed), attention.k_proj(normed), attention.v_proj(normed)

    return Block(
        heads,
        qkv,
        attention.out_proj,
        feed=lambda states: layer.mlp(layer.layer_norm2(states)),
        run=lambda states: layer(states, attention_mask=None),
    )


def open_clip_block(block: Any) -> Block:
    """Return a block of open_clip in pieces; its projections to queries, keys and values are fused."""
    attention = block.attn

    def qkv(states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = F.linear(block.ln_1(states), attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
        return q, k, v

    return Block(
        attention.num_heads, qkv, attention.out_proj, feed=lambda states: block.mlp(block.ln_2(states)), run=block
    )
