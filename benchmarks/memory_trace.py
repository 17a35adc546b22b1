"""How much memory and arithmetic a computation takes, without a GPU and without doing it.

Tensors on torch's "meta" device have shapes and no values, so a full-size model runs there in a second. Two modes
make of it a GPU whose memory is counted::

    with MemoryTrace() as trace, PretendedGpu():   # counts          | answers where values would be needed
        trace.hold(model.parameters())
        model(pixels)
    trace.peak_bytes

What is counted is every storage between the operation that makes it and the moment its last tensor is let go,
rounded as torch's CUDA allocator rounds. What is *not* counted are the kernels' own workspaces (cuDNN, cuBLAS),
the allocator's fragments and the CUDA context: for these :mod:`ovdiff.models.memory` holds a reserve back.
"""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.remembered_shapes import RememberedShapes

MIB = 1 << 20
_ALLOCATION_BYTES = 512  # the CUDA caching allocator's unit
_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
_aten = torch.ops.aten


@dataclass(frozen=True)
class Cost:
    """What a piece of work takes.

    Attributes:
        peak_mib: memory at its fullest, beyond what was there when the work began.
        gmac: 10^9 multiplications with addition, of matrix products, convolutions and attention alone.
        moved_bytes: what operations read and write, each on its own: a kernel that fuses several moves less.
    """

    peak_mib: float
    gmac: float
    moved_bytes: int = 0


class MemoryTrace(TorchDispatchMode):
    """Follows the storages of one kind of device: how many bytes are alive, and how many were at most."""

    def __init__(self, device_type: str = "meta") -> None:
        """Count tensors on devices of this type."""
        super().__init__()
        self.live_bytes = self.peak_bytes = self.moved_bytes = 0
        self._device_type = device_type
        self._known: set[int] = set()

    def hold(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors that were made before, such as weights."""
        for tensor in tensors:
            if tensor.device.type == self._device_type:
                self._follow(tensor.untyped_storage())

    def forget_peak(self) -> None:
        """Look for the highest use from now on."""
        self.peak_bytes = self.live_bytes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, in its parts where it has any: they allocate too."""
        kwargs = kwargs or {}
        if _is_composite(func):
            with self:
                return func._op_dk(_COMPOSITE, *args, **kwargs)
        result = func(*args, **kwargs)
        touched = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        self.hold(touched)
        if not func.is_view:
            self.moved_bytes += sum(leaf.nbytes for leaf in touched if leaf.device.type == self._device_type)
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._known:
            return
        size = -(-storage.nbytes() // _ALLOCATION_BYTES) * _ALLOCATION_BYTES
        self._known.add(key)
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        # torch keeps the Python object of a storage for as long as the storage itself
        weakref.finalize(storage, self._let_go, key, size).atexit = False

    def _let_go(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live_bytes -= size


class PretendedGpu(TorchDispatchMode):
    """Lets code that was written for a GPU run on "meta" tensors.

    Attention becomes the fused kernel that CUDA has for every head width, which keeps no matrix of all pairs. A
    copy to the CPU is zeros, a number that is read is 0, the answer to a question is yes, and a search finds one
    element.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, or what stands for it."""
        kwargs = kwargs or {}
        stand_in = _STAND_INS.get(func)
        if stand_in is not None and args[0].device.type == "meta":
            stood_in = stand_in(*args, **kwargs)
            if stood_in is not NotImplemented:
                return stood_in
        if _is_composite(func):
            with self:
                return func._op_dk(_COMPOSITE, *args, **kwargs)
        return func(*args, **kwargs)


class FusedAttention(TorchFunctionMode):
    """Makes attention that learns the fused kernel, as CUDA has it.

    Outside inference mode autograd takes attention apart before :class:`PretendedGpu` can see it.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, or the kernel in the place of attention."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention and args[0].device.type == "meta":
            fused = _fused_attention(*args, **kwargs, keeps_for_backward=True)
            if fused is not NotImplemented:
                return fused
        return func(*args, **kwargs)


def cost_of(
    work: Callable[[], object], held: Iterable[Tensor] = (), device_type: str = "meta", *, learning: bool = False
) -> Cost:
    """Return what a piece of work takes.

    Args:
        work: is run once; on "meta" as on a GPU, elsewhere for real.
        held: tensors that exist already and are not part of its cost: the weights.
        device_type: where memory is counted.
        learning: whether the work needs gradients; else it runs in inference mode.
    """
    with RememberedShapes(), FlopCounterMode(display=False) as flops:
        trace, before = _watched(work, held, device_type, learning)
    return Cost((trace.peak_bytes - before) / MIB, flops.get_total_flops() / 2e9, trace.moved_bytes)


def peak_mib_of(
    work: Callable[[], object], held: Iterable[Tensor] = (), device_type: str = "meta", *, learning: bool = False
) -> float:
    """Return the peak of :func:`cost_of` alone, in three quarters of the time."""
    with RememberedShapes():
        trace, before = _watched(work, held, device_type, learning)
    return (trace.peak_bytes - before) / MIB


def _watched(
    work: Callable[[], object], held: Iterable[Tensor], device_type: str, learning: bool
) -> tuple[MemoryTrace, int]:
    """Run a piece of work; return what was traced, and the bytes that were there before."""
    mode = FusedAttention() if learning else torch.inference_mode()
    with mode, MemoryTrace(device_type) as trace, PretendedGpu():
        trace.hold(held)
        before = trace.live_bytes
        trace.forget_peak()
        work()
    return trace, before


def _is_composite(func: Any) -> bool:
    """Say whether an operation is made of others in torch's own code.

    ``func.decompose`` would also take apart what a GPU has one kernel for, such as bicubic resizing.
    """
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), _COMPOSITE)


def _fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    keeps_for_backward: bool = False,
) -> Any:
    if query.dim() != 4 or enable_gqa or dropout_p:
        return NotImplemented
    if attn_mask is not None:
        attn_mask = attn_mask.expand(*query.shape[:3], key.shape[2])
    return _aten._scaled_dot_product_efficient_attention(
        query, key, value, attn_mask, compute_log_sumexp=keeps_for_backward, is_causal=is_causal, scale=scale
    )[0]


def _copied(source: Tensor, **options: Any) -> Any:
    target = options.get("device")
    if target is None or torch.device(target).type == "meta":
        return NotImplemented
    return torch.zeros(source.shape, dtype=options.get("dtype") or source.dtype, device=target)


def _found_one(source: Tensor) -> Tensor:
    return torch.zeros(1, source.dim(), dtype=torch.long, device="meta")


_STAND_INS: dict[Any, Callable[..., Any]] = {
    _aten.scaled_dot_product_attention.default: _fused_attention,
    _aten._to_copy.default: _copied,
    _aten._local_scalar_dense.default: lambda source: True if source.dtype is torch.bool else 0,
    _aten.nonzero.default: _found_one,
}
