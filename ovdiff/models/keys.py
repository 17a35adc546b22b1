"""Forward passes that end as soon as the wanted layers have run, and feature maps made from a transformer's tokens."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ovdiff.errors import PresetError


class _ReachedError(Exception):
    """Ends a forward pass when all the wanted modules have run."""


@torch.inference_mode()
def outputs_of(modules: Sequence[nn.Module], forward: Callable[[], object]) -> list[Tensor]:
    """Run ``forward`` until each of ``modules`` has run, and return their outputs; no later module is run."""
    found: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, _inputs: object, output: Tensor) -> None:
        found[module] = output
        if len(found) == len(modules):
            raise _ReachedError

    return _run([module.register_forward_hook(keep) for module in modules], modules, found, forward)


def inputs_of(modules: Sequence[nn.Module], forward: Callable[[], object]) -> list[Tensor]:
    """Run ``forward`` until each of ``modules`` is called, and return their first arguments; the last is not run.

    Gradients flow through, if they are enabled.
    """
    found: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found[module] = inputs[0]
        if len(found) == len(modules):
            raise _ReachedError

    return _run([module.register_forward_pre_hook(keep) for module in modules], modules, found, forward)


def _run(
    handles: Sequence[RemovableHandle],
    modules: Sequence[nn.Module],
    found: Mapping[nn.Module, Tensor],
    forward: Callable[[], object],
) -> list[Tensor]:
    """Run ``forward`` until the hooks have found what they wait for, and return that in the order of ``modules``."""
    if not modules:
        return []
    try:
        forward()
    except _ReachedError:
        return [found[module] for module in modules]
    finally:
        for handle in handles:
            handle.remove()
    unreached = next(module for module in modules if module not in found)
    raise RuntimeError(f"The forward pass never ran {type(unreached).__name__}; is it a part of this model?")


def output_of(module: nn.Module, forward: Callable[[], object]) -> Tensor:
    """Run ``forward`` until ``module`` has run, and return the module's output."""
    return outputs_of([module], forward)[0]


def tokens_to_grid(tokens: Tensor, grid_hw: tuple[int, int], prefix: int = 1) -> Tensor:
    """Turn tokens (B, prefix + h*w, D) into a float32 map (B, D, h, w) without the prefix (CLS and register tokens)."""
    maps = tokens[:, prefix:].float().transpose(1, 2)
    return maps.reshape(*maps.shape[:2], *grid_hw)


def check_block(field: str, layer: int, blocks: int) -> None:
    """Refuse a block that a transformer does not have.

    Args:
        field: the preset's field that gives the block, for the message.
        layer: the block's number; a negative number counts from the end.
        blocks: how many blocks the transformer has.

    Raises:
        PresetError: there is no such block; the message names the field.
    """
    if not -blocks <= layer < blocks:
        raise PresetError(f"{field} is {layer}; this transformer has {blocks} blocks, 0 to {blocks - 1}.")
