"""The cross-attention layers of a UNet: attribution reads their probabilities, and SD features their queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ovdiff.errors import PresetError

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import Attention


def cross_attention_layers(unet: UNet2DConditionModel, prefixes: Sequence[str]) -> dict[str, Attention]:
    """Return the attn2 modules whose names start with one of the prefixes, by name, in the UNet's order.

    A prefix must end where a dot follows, so ``up_blocks.1`` does not select ``up_blocks.10``. Without any prefix, all
    layers are returned.

    Raises:
        PresetError: a prefix selects no layer; the message lists the layers of the UNet.
    """
    layers = {name: module for name, module in unet.named_modules() if name.endswith(".attn2")}
    for prefix in prefixes:
        if not any(_matches(name, prefix) for name in layers):
            raise PresetError(f"No cross-attention layer starts with {prefix!r}. This UNet has: {', '.join(layers)}.")
    if not prefixes:
        return layers
    return {name: layer for name, layer in layers.items() if any(_matches(name, prefix) for prefix in prefixes)}


def _matches(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
