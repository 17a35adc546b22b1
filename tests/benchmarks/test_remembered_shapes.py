import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.remembered_shapes import RememberedShapes


class Run(TorchDispatchMode):
    """Notes which operations run; entered first, it sees what is left of them."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.names.append(func._schema.name.removeprefix("aten::"))
        return func(*args, **(kwargs or {}))


def names(work: object) -> list[str]:
    """Return which operations run with remembered shapes; that of making an empty tensor stands for the others."""
    with Run() as run, RememberedShapes():
        work()  # type: ignore[operator]
    return run.names


def meta(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def test_an_operation_that_ran_before_gives_its_shape_again() -> None:
    one, two, found = meta(3, 5), meta(5, 7).T.contiguous().T, list[Tensor]()
    assert "mm" in names(lambda: found.append(one @ two))
    assert "mm" not in names(lambda: found.append(one @ two))
    first, again = found
    assert (again.shape, again.stride(), again.dtype) == (first.shape, first.stride(), first.dtype)
    assert again.untyped_storage()._cdata != first.untyped_storage()._cdata


@pytest.mark.parametrize(
    "other",
    [
        lambda values: values.half().sum(0),
        lambda values: values.sum(1),
        lambda values: values.sum(0, keepdim=True),
        lambda values: values.T.contiguous().T.sum(0),
        lambda values: values[:2].sum(0),
    ],
)
def test_another_operation_runs(other: object) -> None:
    values = meta(4, 6)
    names(lambda: values.sum(0))
    with RememberedShapes():
        assert other(values).shape == other(torch.zeros(4, 6)).shape  # type: ignore[operator]
        assert other(values).dtype == other(torch.zeros(4, 6)).dtype  # type: ignore[operator]


def test_a_number_of_another_kind_is_another_argument() -> None:
    whole = torch.empty(3, dtype=torch.long, device="meta")
    with RememberedShapes():
        assert [(whole + 1).dtype, (whole + 1.0).dtype] == [torch.long, torch.float32]


def test_views_and_changes_in_place_stay_what_they_are() -> None:
    values = meta(4, 6)
    with RememberedShapes():
        for _ in range(2):
            assert values.T.untyped_storage()._cdata == values.untyped_storage()._cdata
            assert values.add_(1) is values
            halves = values.split(2)
            hidden = torch.ops.aten._unsafe_view(values, [24])  # no view by its schema
            for view in (halves[0], hidden):
                assert view.untyped_storage()._cdata == values.untyped_storage()._cdata


def test_tensors_with_values_are_computed() -> None:
    values = torch.arange(6.0)
    with RememberedShapes():
        assert [(values * factor).tolist()[1] for factor in (2, 2, 3)] == [2, 2, 3]


def test_gradients_flow_through_what_was_remembered() -> None:
    weight = meta(5, 7).requires_grad_()
    with RememberedShapes():
        for _ in range(2):
            (weight.exp().mean() * 2).backward()
    assert weight.grad is not None and weight.grad.shape == (5, 7)
