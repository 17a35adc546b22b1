"""A GPU that is none: tensors say that they are on cuda:0 and hold their numbers on the CPU.

Whatever is computed is right, and what fails on a GPU fails here: an operation on tensors of two devices, numpy's look
at a tensor of the device, a generator of another device. Kernels, streams, events and memory are not tried.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

_CUDA = torch.device("cuda", 0)
_CPU = torch.device("cpu")
_ATEN = torch.ops.aten
_TWO_DEVICES = {_ATEN.copy_.default, _ATEN._to_copy.default, _ATEN.to.dtype_layout, _ATEN.to.device, _ATEN.to.dtype}
_INDEXED = {_ATEN.index.Tensor, _ATEN.index_put.default, _ATEN.index_put_.default, _ATEN._index_put_impl_.default}
"""The indices of a tensor of the device may be on the CPU."""
_GIB = 1 << 30


class PretendedTensor(Tensor):
    """A tensor of the device; ``held`` is the CPU's."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> "PretendedTensor":
        """Pretend that a tensor is on the device."""
        made: Any = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.size(), strides=held.stride(), dtype=held.dtype, layout=held.layout, device=_CUDA
        )
        made.held = held
        return made  # type: ignore[no-any-return]

    @classmethod
    def __torch_dispatch__(cls, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation where no mode sees it."""
        return _run(func, args, kwargs or {})

    def numpy(self, *, force: bool = False) -> Any:  # type: ignore[override]
        """Refuse what numpy cannot see, as torch does."""
        if not force:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        return self.held.detach().clone().numpy()

    def __array__(self, *_given: Any, **_more: Any) -> Any:
        """Refuse what numpy cannot see, as torch does."""
        return self.numpy()

    def tolist(self) -> Any:  # type: ignore[override]
        """Return the numbers."""
        return self.held.tolist()

    def record_stream(self, _stream: Any) -> None:
        """Nothing runs beside anything here."""

    def new_tensor(self, data: Any, dtype: Any = None, device: Any = None, **_more: Any) -> Tensor:  # type: ignore[override]
        """Return numbers on the device."""
        return torch.tensor(data, dtype=dtype or self.dtype).to(device or _CUDA)


class _Operations(TorchDispatchMode):
    """Makes tensors on the device, and moves them there."""

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """Stands for what torch decides by asking the driver: attention's kernel, and where new numbers go."""

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or "cpu").type == "cuda":
            return func(*args, **{**kwargs, "device": "cpu"}).to(_CUDA)
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        if func is F.scaled_dot_product_attention and any(isinstance(each, PretendedTensor) for each in given):
            _require_one_device(func, given)
            inner, more = tree_map(_held, (list(args), kwargs))
            return PretendedTensor(F.scaled_dot_product_attention(*inner, **more))
        return func(*args, **kwargs)


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Have this thread's "cuda" be pretended; other threads are not to touch it."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    stand_ins: dict[str, Any] = {
        "_lazy_init": lambda: None,
        "synchronize": lambda *_: None,
        "empty_cache": lambda: None,
        "mem_get_info": lambda *_: (70 * _GIB, 80 * _GIB),
        "memory_reserved": lambda *_: _GIB,
        "memory_allocated": lambda *_: _GIB,
        "Stream": lambda *_: None,
        "stream": lambda _: nullcontext(),
        "current_stream": lambda *_: None,
    }
    with ExitStack() as stack:
        for name, stand_in in stand_ins.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, stand_in))
        torch._C._ensureCUDADeviceGuardSet()
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, False)
        torch.__future__.set_overwrite_module_params_on_conversion(True)  # A module's weights become other tensors.
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, before)
        stack.enter_context(_Functions())
        stack.enter_context(_Operations())
        yield


def _held(value: Any) -> Any:
    return value.held if isinstance(value, PretendedTensor) else value


def _require_one_device(func: Any, given: list[Tensor]) -> None:
    if len({isinstance(each, PretendedTensor) for each in given}) > 1:
        shapes = [(each.device.type, tuple(each.shape)) for each in given]
        raise RuntimeError(f"Expected all tensors to be on the same device, but {func} was given {shapes}.")


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operation on the CPU's tensors, and pretend of its results what the device's would be."""
    args, kwargs = _with_named_device(func, args, kwargs)
    given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    there = [each for each in given if isinstance(each, PretendedTensor)]
    if there and func not in _TWO_DEVICES:
        scalars_aside = [each for each in given if each.ndim or isinstance(each, PretendedTensor)]
        indexed = func in _INDEXED and isinstance(args[0], PretendedTensor)
        _require_one_device(
            func, [each for each in args[:1] + args[2:] if isinstance(each, Tensor)] if indexed else scalars_aside
        )
    asked = kwargs.get("device")
    goes_there = torch.device(asked).type == "cuda" if asked is not None else bool(there)
    if func is _ATEN.copy_.default:
        goes_there = isinstance(args[0], PretendedTensor)
    generator = kwargs.get("generator")
    if generator is not None and (generator.device.type == "cuda") != goes_there:
        raise RuntimeError(f"{func} was given a generator of {generator.device}.")
    inner, more = tree_map(_held, (list(args), {**kwargs, **({} if asked is None else {"device": _CPU})}))
    known = {id(_held(each)): each for each in given}
    is_view = any(one.alias_info is not None and not one.alias_info.is_write for one in func._schema.returns)

    def settled(result: Any) -> Any:
        if not isinstance(result, Tensor):
            return result
        if id(result) in known:
            same = known[id(result)]
            if isinstance(same, PretendedTensor) == goes_there:
                return same
            result = result.clone()
        if not goes_there:
            return result
        with torch.inference_mode(there[0].is_inference() if there and is_view else torch.is_inference_mode_enabled()):
            return PretendedTensor(result)

    return tree_map(settled, func(*inner, **more))


def _with_named_device(func: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Return arguments among which a device, if there is one, has its name."""
    names = [each.name for each in func._schema.arguments]
    place = names.index("device") if "device" in names else len(args)
    return tuple(args[:place]), {**dict(zip(names[place:], args[place:], strict=False)), **kwargs}
