"""The least that a computation can take on a device: its arithmetic, and the bytes that it cannot help moving.

::

    floor = max(operations / the device's matrix rate, bytes / its bandwidth)

Operations are those of matrix products, convolutions and attention, 2 for each multiplication with addition. Bytes are
those of everything that was there before and is read (weights, inputs), each once, and of what is returned, once: what
comes between could stay in a cache or a register. No version of the computation is much faster than its floor, so the
measured time over the floor says how much there is to gain.
"""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

_LOOKED_UP = {torch.ops.aten.embedding.default, torch.ops.aten.index.Tensor, torch.ops.aten.index_select.default}
"""Operations that read of their first argument only what they return."""


@dataclass(frozen=True)
class Work:
    """What a computation must do: operations (FLOP), and bytes that it must read or write."""

    flop: float
    bytes: float

    def per_item(self, count: int) -> "Work":
        """Return the share of one of ``count`` items."""
        return Work(self.flop / count, self.bytes / count)


@dataclass(frozen=True)
class Ceilings:
    """What a device can do: operations a second, by the dtype of a matrix product, and bytes a second."""

    flop_per_s: dict[str, float]
    bytes_per_s: float


@dataclass(frozen=True)
class Floor:
    """The least seconds of a computation, and which of the two asks for them."""

    seconds: float
    bound_by: Literal["arithmetic", "bandwidth"]


def floor(work: Work, ceilings: Ceilings, dtype: str) -> Floor:
    """Return the least time that some work takes on a device that multiplies in a dtype."""
    arithmetic, traffic = work.flop / ceilings.flop_per_s[dtype], work.bytes / ceilings.bytes_per_s
    return Floor(arithmetic, "arithmetic") if arithmetic >= traffic else Floor(traffic, "bandwidth")


def work_of(run: Callable[[], object]) -> Work:
    """Run a computation once and count what it must do; what it returns is what it must write."""
    flops = FlopCounterMode(display=False)
    with torch.inference_mode(), flops, _Traffic() as traffic:
        returned = run()
    return Work(float(flops.get_total_flops()), traffic.read_bytes + traffic.written_bytes(returned))


class _Traffic(TorchDispatchMode):
    """Counts the bytes of storages that operations read and that no operation made."""

    def __init__(self) -> None:
        super().__init__()
        self.read_bytes = 0
        self._known: set[int] = set()
        self._made: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation; count what it reads for the first time, and remember what it made."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given = list(_storages((args, kwargs)))
        if func in _LOOKED_UP:
            self._met(given[1:])
            self.read_bytes += sum(tensor.nbytes for tensor in _tensors(result))
        else:
            self._met(given)
        for storage in _storages(result):
            if self._is_new(storage):
                self._made.add(storage._cdata)
        return result

    def written_bytes(self, returned: object) -> int:
        """Return the bytes of what was made and returned."""
        made = {one._cdata: one.nbytes() for one in _storages(returned) if one._cdata in self._made}
        return sum(made.values())

    def _met(self, storages: Iterable[torch.UntypedStorage]) -> None:
        self.read_bytes += sum(storage.nbytes() for storage in storages if self._is_new(storage))

    def _is_new(self, storage: torch.UntypedStorage) -> bool:
        if storage._cdata in self._known:
            return False
        self._known.add(storage._cdata)
        # When it is let go its address may become another's. torch keeps its Python object for as long as itself.
        weakref.finalize(storage, self._forget, storage._cdata).atexit = False
        return True

    def _forget(self, address: int) -> None:
        self._known.discard(address)
        self._made.discard(address)


def _tensors(tree: object) -> Iterable[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _storages(tree: object) -> Iterable[torch.UntypedStorage]:
    return (tensor.untyped_storage() for tensor in _tensors(tree))
