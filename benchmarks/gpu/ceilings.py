"""What a device can do, measured with the libraries that the product uses: a large matrix product, and a large copy."""

import torch

from benchmarks.cost_seconds import time_call
from benchmarks.gpu.floors import Ceilings

DTYPES = ("bfloat16", "float16", "float32")


def measure_ceilings(device: str, *, side: int, copied_mib: int) -> Ceilings:
    """Return the rates of square products of random matrices, and of a copy, whose bytes count as read and written.

    Zeros would not do: products of them have been seen to run faster than of data. A copy must be several times as
    large as the device's cache.

    Args:
        device: "cpu" or "cuda".
        side: rows and columns of the matrices.
        copied_mib: how much is copied.
    """
    rates = {dtype: _products_per_s(device, getattr(torch, dtype), side) for dtype in DTYPES}
    source = torch.randint(0, 255, (copied_mib << 20,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = time_call(lambda: target.copy_(source), device).seconds
    return Ceilings(rates, 2 * source.nbytes / seconds)


def _products_per_s(device: str, dtype: torch.dtype, side: int) -> float:
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / time_call(lambda: left @ right, device).seconds
