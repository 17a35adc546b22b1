"""Ways to run the last blocks of CLIP's image encoder so that patches keep their place.

CLIP was trained for the whole image: in its last block each patch gathers what the image shows, wherever it is. The
methods change the attention of that block and leave the weights as they are. With q, k, v of one head, the class token
included, and s = 1 / sqrt(the head's width)::

    plain          softmax(s q k') v
    maskclip       v                                    Zhou et al., "Extract Free Dense Labels from CLIP", ECCV 2022
    sclip          (softmax(s q q') + softmax(s k k')) v        Wang et al., "SCLIP", ECCV 2024
    naclip         softmax(s k k' + G) v                Hajimiri et al., "Pay Attention to Your Neighbours", WACV 2025
    clip_surgery   softmax(s v v') v, beside CLIP's own path    Li et al., "CLIP Surgery", Pattern Recognition 2025

G is a Gaussian of the distance between two patches, and 0 for the class token.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ovdiff.baselines.preset import DenseSettings
from ovdiff.errors import PresetError
from ovdiff.models.clip_tower import Block

Mix = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From queries, keys and values (B, heads, N, d) to what the attention gives (B, heads, N, d)."""


def dense_states(
    blocks: tuple[Block, ...], states: Tensor, grid_hw: tuple[int, int], settings: DenseSettings
) -> Tensor:
    """Run the blocks of an encoder with changed last ones.

    Args:
        blocks: of the encoder.
        states: (B, 1 + h*w, D), the first block's input; the class token comes first.
        grid_hw: (h, w) of the patches.
        settings: which way.

    Returns:
        (B, 1 + h*w, D), what the last norm takes.

    Raises:
        PresetError: more blocks are to be changed than there are.
    """
    if settings.attention == "clip_surgery":
        return _two_paths(blocks, states, settings.surgery_blocks)
    for block in blocks[:-1]:
        states = block.run(states)
    if settings.attention == "plain" and settings.last_block == "whole":
        return blocks[-1].run(states)
    attended = attend(blocks[-1], states, _mix(grid_hw, settings))
    if settings.last_block == "attention":
        return attended
    states = states + attended
    return states + blocks[-1].feed(states)


def attend(block: Block, states: Tensor, mix: Mix) -> Tensor:
    """Return a block's attention (B, N, D), projected, with another way to mix the values."""
    q, k, v = (each.reshape(*each.shape[:2], block.heads, -1).transpose(1, 2) for each in block.qkv(states))
    return block.project(mix(q, k, v).transpose(1, 2).flatten(2))


def gaussian(grid_hw: tuple[int, int], deviation: float, like: Tensor) -> Tensor:
    """Return exp(-d^2 / (2 deviation^2)) of the distance d between two patches, (1 + h*w, 1 + h*w).

    The row and the column of the class token are 0.

    Args:
        grid_hw: (h, w) of the patches.
        deviation: in patches.
        like: a tensor that gives dtype and device.
    """
    rows, columns = (torch.arange(length, device=like.device, dtype=torch.float32) for length in grid_hw)
    places = torch.cartesian_prod(rows, columns)
    squares = (places[:, None] - places[None]).square().sum(dim=2)
    found = torch.zeros(len(places) + 1, len(places) + 1, device=like.device)
    found[1:, 1:] = torch.exp(squares / (-2 * deviation**2))
    return found.to(like.dtype)


def _mix(grid_hw: tuple[int, int], settings: DenseSettings) -> Mix:
    def naclip(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (_scaled(k, k) + gaussian(grid_hw, settings.gaussian_std, k)).softmax(dim=-1) @ v

    ways: dict[str, Mix] = {
        "plain": _by_queries,
        "maskclip": lambda q, k, v: v,
        "sclip": lambda q, k, v: (_scaled(q, q).softmax(dim=-1) + _scaled(k, k).softmax(dim=-1)) @ v,
        "naclip": naclip,
    }
    return ways[settings.attention]


def _two_paths(blocks: tuple[Block, ...], states: Tensor, count: int) -> Tensor:
    """Run CLIP surgery's two paths: patches of the new one, the class token of CLIP's own.

    From the first changed block on, CLIP's own path goes on as it is. The new path adds to the patches what they gather
    from patches of like values, and skips the feed-forward parts.
    """
    if count > len(blocks):
        raise PresetError(f"dense.surgery_blocks is {count}; CLIP's image encoder has {len(blocks)} blocks.")
    for block in blocks[: len(blocks) - count]:
        states = block.run(states)
    own = new = states
    for block in blocks[len(blocks) - count :]:
        new = new + attend(block, own, _by_values)
        own = block.run(own)
    return torch.cat([own[:, :1], new[:, 1:]], dim=1)


def _by_queries(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _scaled(q, k).softmax(dim=-1) @ v


def _by_values(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _scaled(v, v).softmax(dim=-1) @ v


def _scaled(a: Tensor, b: Tensor) -> Tensor:
    return a @ b.transpose(-2, -1) * a.shape[-1] ** -0.5
