"""How many items fit into the device's memory at once, and what to do when they don't after all.

::

    batch = min(wanted, (min(free, budget - used) - reserve) / per item)

On a CPU the machine's memory is not rationed: the wanted size is used. The per-item sizes are fields of the
preset, traced by ``benchmarks/full_size_cost.py``; a wrong one costs time, not the run, because a batch that
does not fit is halved.
"""

import gc
import logging
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch

from ovdiff.errors import DeviceMemoryError

T = TypeVar("T")

_MIB = 1 << 20
RESERVE_MIB = 512
"""Held back for what no batch accounts for: the allocator's fragments, workspaces of cuBLAS and cuDNN."""

_log = logging.getLogger(__name__)


class DeviceMemory(Protocol):
    """What is free on a device and what this process uses there, both in MiB."""

    def free_mib(self) -> float:
        """Return what could be allocated now."""
        ...

    def used_mib(self) -> float:
        """Return what this process has allocated: mostly weights, between batches."""
        ...


class CudaMemory:
    """The memory of a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        """Watch one device."""
        self._device = device

    def free_mib(self) -> float:
        """Return the device's free memory and what torch keeps cached but does not use."""
        free, _ = torch.cuda.mem_get_info(self._device)
        cached = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return (free + cached) / _MIB

    def used_mib(self) -> float:
        """Return what tensors occupy."""
        return torch.cuda.memory_allocated(self._device) / _MIB


def memory_of(device: torch.device) -> DeviceMemory | None:
    """Return a device's memory, or ``None`` where it is not rationed."""
    return CudaMemory(device) if device.type == "cuda" else None


def batch_size(memory: DeviceMemory | None, wanted: int, mib_per_item: int, budget_gib: float, what: str) -> int:
    """Return how many items to run at once: at least 1, at most ``wanted``.

    Args:
        memory: of the device; ``None`` gives ``wanted``.
        wanted: the preset's limit.
        mib_per_item: memory that one item takes while it runs.
        budget_gib: what the process may use in all, weights included.
        what: names the work in the error's message, such as "sampling an image".

    Raises:
        DeviceMemoryError: even one item does not fit.
    """
    if memory is None or mib_per_item == 0:
        return wanted
    room = min(memory.free_mib(), budget_gib * 1024 - memory.used_mib()) - RESERVE_MIB
    fitting = int(room // mib_per_item)
    if fitting < 1:
        raise DeviceMemoryError(
            f"There is no room for {what}: it takes {mib_per_item} MiB; of a budget of {budget_gib} GiB "
            f"{int(memory.used_mib())} MiB are in use, and {int(memory.free_mib())} MiB are free on the device. "
            f"End other programs on it, raise the preset's memory limits, or lower its image size."
        )
    return min(wanted, fitting)


def run_in_batches(items: Sequence[T], size: int, run: Callable[[Sequence[T]], None], what: str) -> None:
    """Run items in order, ``size`` at a time; a batch that does not fit into memory is run again in halves.

    Args:
        items: what to run.
        size: items a batch, at least 1.
        run: is given a batch; where it fails for want of memory it must have kept nothing.
        what: names the work in the error's message.

    Raises:
        DeviceMemoryError: one item alone does not fit.
    """
    pending = [items[start : start + size] for start in range(0, len(items), size)]
    while pending:
        batch = pending.pop(0)
        try:
            run(batch)
            continue
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                raise DeviceMemoryError(
                    f"The device's memory is too small for {what}, even one at a time: {error} "
                    f"End other programs on it, or choose smaller models or images."
                ) from error
        # outside the except clause: its traceback holds the tensors that must go first
        _release()
        half = len(batch) // 2
        _log.warning("%s: %d at once do not fit into memory; going on with halves", what, len(batch))
        pending[:0] = [batch[:half], batch[half:]]


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
