"""Attention keys of one block of a vision transformer, as a feature map."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class _ReachedError(Exception):
    """Ends a forward pass at the module that was waited for."""

    def __init__(self, output: Tensor) -> None:
        super().__init__("the module was reached")
        self.output = output


@torch.inference_mode()
def output_of(module: nn.Module, forward: Callable[[], object]) -> Tensor:
    """Run ``forward`` until ``module`` has made its output, and return that; later layers never run."""

    def stop(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        raise _ReachedError(output)

    handle = module.register_forward_hook(stop)
    try:
        forward()
    except _ReachedError as reached:
        return reached.output
    finally:
        handle.remove()
    raise RuntimeError(f"The forward pass never ran {type(module).__name__}; is it a part of this model?")


def tokens_to_grid(tokens: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Turn tokens (B, 1 + h*w, D), CLS first, into a float32 map (B, D, h, w) without CLS."""
    maps = tokens[:, 1:].float().transpose(1, 2)
    return maps.reshape(*maps.shape[:2], *grid_hw)
