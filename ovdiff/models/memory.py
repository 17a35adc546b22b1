"""How many items fit into a device's memory at once, and what happens when a batch does not fit after all.

::

    batch = min(wanted, (min(free, budget - used) - reserve) / per item)

On a CPU the batch has the size that the preset asks for: another size changes the last bits of features, so an image
would get other masks on a busy machine (docs/presets.md tells what helps where memory is short). How much an item takes
is a field of the preset, traced by ``benchmarks/full_size_cost.py``. A wrong value there costs time, but not the run,
because a batch that does not fit is halved.
"""

import gc
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar
from weakref import WeakSet

import torch

from ovdiff.errors import DeviceMemoryError

T = TypeVar("T")

_MIB = 1 << 20
RESERVE_MIB = 512
"""Memory that no batch may use: the allocator's fragments and the workspaces of cuBLAS and cuDNN need it."""

_log = logging.getLogger(__name__)


class DeviceMemory(Protocol):
    """A device's memory: how much of it is free and how much this process uses, both in MiB."""

    def free_mib(self) -> float:
        """Return the memory that could be allocated now."""
        ...

    def used_mib(self) -> float:
        """Return the memory that this process has allocated. Between batches most of it holds weights."""
        ...


@dataclass(frozen=True)
class Work:
    """Work that can be done on several items at once, and how much memory it may take.

    Attributes:
        name: names the work in messages, such as "sampling a support image".
        wanted: how many items the preset wants to be done at once, at most.
        mib_per_item: the memory that one item takes while the work runs; 0 leaves memory out of the batch size.
        budget_gib: the memory that this process may use in all, weights included.
        advice: what helps, besides ending other programs, if not even one item fits.
        mib_at_least: the memory that a batch of any size takes, such as that of a step in which items take turns.
    """

    name: str
    wanted: int
    mib_per_item: int
    budget_gib: float
    advice: str = "raise the preset's memory limits, or lower its image size"
    mib_at_least: int = 0


class Holder(Protocol):
    """What keeps memory of a device beside tensors, and can do without it."""

    def held_mib(self) -> float:
        """Return how much it keeps."""
        ...

    def let_go(self) -> None:
        """Keep none of it."""
        ...


_HOLDERS: "WeakSet[Holder]" = WeakSet()


def remember_holder(holder: Holder) -> None:
    """Count what a holder keeps as memory in use, and have it let go of it where memory is short."""
    _HOLDERS.add(holder)


def _held_mib() -> float:
    return sum(holder.held_mib() for holder in list(_HOLDERS))


class CudaMemory:
    """The memory of a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        """Read the memory of one device."""
        self._device = device

    def free_mib(self) -> float:
        """Return the device's free memory, with the memory that torch has reserved but does not use."""
        free, _ = torch.cuda.mem_get_info(self._device)
        cached = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return (free + cached) / _MIB - _held_mib()  # Torch has reserved that too, for nothing else.

    def used_mib(self) -> float:
        """Return the memory that tensors occupy, and what holders keep."""
        return torch.cuda.memory_allocated(self._device) / _MIB + _held_mib()


def memory_of(device: torch.device) -> DeviceMemory | None:
    """Return a device's memory, or ``None`` for a device whose memory is not rationed."""
    return CudaMemory(device) if device.type == "cuda" else None


def free_mib(device: torch.device) -> float:
    """Return a device's free memory; infinity for a device whose memory is not rationed."""
    memory = memory_of(device)
    return math.inf if memory is None else memory.free_mib()


def batch_size(device: torch.device, work: Work) -> int:
    """Return how many items of a work a device should run at once: at least 1, at most the wanted number.

    Load the weights of the work first: the batch is given the memory that they leave.

    Raises:
        DeviceMemoryError: not even one item fits.
    """
    try:
        return items_that_fit(memory_of(device), work)
    except DeviceMemoryError:
        if not _held_mib():
            raise
        _release()
        return items_that_fit(memory_of(device), work)


def room_mib(memory: DeviceMemory | None, budget_gib: float) -> float:
    """Return the memory that work may take within a budget, beside what is reserved; infinity with ``None``."""
    if memory is None:
        return math.inf
    return min(memory.free_mib(), budget_gib * 1024 - memory.used_mib()) - RESERVE_MIB


def items_that_fit(memory: DeviceMemory | None, work: Work) -> int:
    """Return how many items of a work fit into a memory: at least 1, at most the wanted number.

    Args:
        memory: the device's memory; with ``None`` the wanted number fits.
        work: what is to be run.

    Raises:
        DeviceMemoryError: not even one item fits.
    """
    if memory is None or work.mib_per_item == 0:
        return work.wanted
    room = room_mib(memory, work.budget_gib)
    fitting = int(room // work.mib_per_item)
    if fitting < 1 or room < work.mib_at_least:
        least_mib = max(work.mib_per_item, work.mib_at_least)
        raise DeviceMemoryError(
            f"There is no room for {work.name}: it takes {least_mib} MiB; of a budget of {work.budget_gib} GiB "
            f"{int(memory.used_mib())} MiB are in use, and {int(memory.free_mib())} MiB are free on the device. "
            f"End other programs on it, {work.advice}."
        )
    return min(work.wanted, fitting)


def run_in_batches(
    items: Sequence[T],
    size: int,
    run: Callable[[Sequence[T]], None],
    what: str,
    advice: str = "or choose smaller models or images",
) -> None:
    """Run items in order, ``size`` at a time; a batch that does not fit into memory is run again in halves.

    Args:
        items: the items, in the order in which they are run.
        size: how many items a batch has, at least 1.
        run: is called with a batch. If it runs out of memory it must have kept no result of that batch.
        what: names the work in the error's message.
        advice: what helps, besides ending other programs, if one item alone does not fit.

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
                    f"End other programs on it, {advice}."
                ) from error
        # Outside the except clause, because the error's traceback holds the tensors that must be freed first.
        _release()
        half = len(batch) // 2
        _log.warning("%s: %d at once do not fit into memory; going on with halves", what, len(batch))
        pending[:0] = [batch[:half], batch[half:]]


def _release() -> None:
    for holder in list(_HOLDERS):
        holder.let_go()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
