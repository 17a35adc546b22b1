"""The shapes that operations gave on torch's "meta" device, so that the next one like it need not work them out.

torch works out a result's shape in Python, operation by operation, and that is most of the time of a trace. The same
operations come again and again: each block of a network, each chunk of k-means.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_remembered: dict[Any, Tensor | tuple[Tensor, ...]] = {}
"""By operation and arguments, a result of that shape; on "meta" it takes no memory."""


class RememberedShapes(TorchDispatchMode):
    """Gives new tensors in the place of operations on "meta" tensors that have run before.

    Enter it before modes that count: they then see every operation as if it had run. Views, changes in place, and
    whatever has a tensor elsewhere among its arguments or results run as ever.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, or give what it gave the last time."""
        kwargs = kwargs or {}
        key = _key((func, args, kwargs)) if _may_make_anew(func) else None
        if key is None:
            return func(*args, **kwargs)
        if key in _remembered:
            return _new(_remembered[key])
        result = func(*args, **kwargs)
        if _is_anew(result, tree_leaves((args, kwargs))):
            _remembered[key] = _new(result)
        return result


@cache
def _may_make_anew(func: Any) -> bool:
    """Say whether the results of an operation are tensors of their own, by its schema."""
    return not func._schema.is_mutable and all(each.alias_info is None for each in func._schema.returns)


def _key(value: Any) -> Any:
    """Return what stands for an argument, tensors by their shapes; None where a tensor is not on "meta"."""
    if isinstance(value, Tensor):
        return (value.shape, value.stride(), value.dtype) if value.device.type == "meta" else None
    if isinstance(value, dict):
        value = tuple(value.items())
    if isinstance(value, list | tuple):
        keys = tuple(_key(each) for each in value)
        return None if None in keys else keys
    return type(value), value  # 1, 1.0 and True are equal


def _is_anew(result: Any, arguments: list[Any]) -> bool:
    """Say whether all results are on "meta" and none is an argument's storage: ``_unsafe_view`` hides that it is."""
    every = result if isinstance(result, tuple) else (result,)
    if not all(isinstance(each, Tensor) and each.device.type == "meta" for each in every):
        return False
    given = {each.untyped_storage()._cdata for each in arguments if isinstance(each, Tensor)}
    return given.isdisjoint(each.untyped_storage()._cdata for each in every)


def _new(result: Tensor | tuple[Tensor, ...]) -> Any:
    """Return tensors of the same shapes."""
    if isinstance(result, tuple):
        return tuple(_new(each) for each in result)
    return torch.empty_strided(result.shape, result.stride(), dtype=result.dtype, device="meta")
