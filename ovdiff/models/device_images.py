"""Images go to the device as bytes, once, and are resized there, to the bytes that Pillow gives on the CPU.

On CUDA this happens in a stream of its own and from pinned memory, so that a thread that reads ahead does it while the
models compute on earlier images. On a CPU the same steps are plain copies. All dtypes are named, because no lock is
held here: a model that loads meanwhile switches torch's default.

Pillow resizes 8-bit images in two passes, by integers: weights have 22 bits behind the point, and each pass rounds to 8
bits (`src/libImaging/Resample.c` of Pillow). So the sums below are exact, and the same in any order. The first pass is
that along the rows, but for images that become much lower and not as much narrower: these Pillow 13 takes the other way
round, and they are left to it.
"""

import logging
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_BITS = 32 - 8 - 2
"""Of a weight behind the point: a sum of 8-bit values by weights has two bits left in 32."""

_LOBES = 3.0
"""The Lanczos filter is zero beyond so many samples of the smaller image."""

_log = logging.getLogger(__name__)


def beside(device: torch.device) -> AbstractContextManager[object]:
    """Return a block whose work on a CUDA device goes on beside that of other threads; wait for its results inside."""
    return torch.cuda.stream(_stream(device)) if device.type == "cuda" else nullcontext()


def to_device(image: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Begin to copy an image (H, W, 3) uint8 to a device; from pinned memory, so that nobody waits for it.

    Where the machine gives no pinned memory, plain memory does: the copy then waits for the bytes to be read.
    """
    host = _host(image.shape, is_pinned=device.type == "cuda")
    host.numpy()[...] = image
    return host.to(device, non_blocking=True)


def _host(shape: tuple[int, ...], *, is_pinned: bool) -> Tensor:
    """Return memory for an image uint8 on this side; pinned, if that is wanted and can be had."""
    if is_pinned:
        try:
            return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        except RuntimeError as error:  # a container's limit of locked memory, or little memory
            _tell_once(f"{error!s:.200}")
    return torch.empty(shape, dtype=torch.uint8)


@cache
def _tell_once(error: str) -> None:
    _log.warning("No pinned memory can be had (%s); images go to the device from plain memory.", error)


def for_this_thread(image: Tensor) -> Tensor:
    """Return an image that was made in :func:`beside`, whose memory stays until what this thread begins has read it."""
    if image.is_cuda:
        image.record_stream(torch.cuda.current_stream(image.device))
    return image


def can_resize(from_hw: tuple[int, int], to_hw: tuple[int, int]) -> bool:
    """Return whether :func:`resize_lanczos` gives Pillow's bytes, of any version (found by trying Pillow 13)."""
    lower, narrower = from_hw[0] - to_hw[0], from_hw[1] - to_hw[1]
    return lower <= 0 or lower <= 2 * narrower or narrower == 0


def resize_lanczos(image: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Return an image (H, W, 3) uint8 resized to (h, w), as Pillow's Lanczos does it, to the byte.

    Cost: a product for each sample of the filter, of int32 arrays of (H, w) and then (h, w) pixels.
    """
    height, width = size_hw
    return _resized(_resized(image, 1, width), 0, height)


def _resized(image: Tensor, axis: int, length: int) -> Tensor:
    if image.shape[axis] == length:
        return image
    first, weights = (torch.from_numpy(each).to(image.device) for each in _lanczos(image.shape[axis], length))
    shape = [1, 1, 1]
    shape[axis] = length
    last = image.shape[axis] - 1
    total = torch.full((), 1 << (_BITS - 1), dtype=torch.int32, device=image.device)
    for offset, weight in enumerate(weights):
        samples = image.index_select(axis, (first + offset).clamp_(max=last))  # beyond the last one the weight is 0
        total = total + samples.to(torch.int32).mul_(weight.reshape(shape))
    return (total >> _BITS).clamp_(0, 255).to(torch.uint8)


@lru_cache(maxsize=64)
def _lanczos(samples: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the first sample (L,) of each result, and the weights (K, L) of it and of those after it."""
    scale = samples / length
    spread = max(scale, 1.0)
    support = _LOBES * spread
    centre = (np.arange(length) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + support + 0.5).astype(np.int64), samples)
    place = first + np.arange(int(np.ceil(support)) * 2 + 1)[:, None]
    x = (place - centre + 0.5) * (1.0 / spread)
    weights = np.where((place < end) & (x >= -_LOBES) & (x < _LOBES), np.sinc(x) * np.sinc(x / _LOBES), 0.0)
    weights = weights / weights.sum(axis=0) * (1 << _BITS)
    return first, np.trunc(weights + np.copysign(0.5, weights)).astype(np.int32)


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
