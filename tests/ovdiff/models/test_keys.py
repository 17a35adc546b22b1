import pytest
import torch
from torch import nn

from ovdiff.errors import PresetError
from ovdiff.models.keys import check_block, inputs_of, output_of, outputs_of, tokens_to_grid


def test_the_pass_ends_at_the_module() -> None:
    layers = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    layers[1].register_forward_hook(lambda *_: pytest.fail("ran on"))
    found = output_of(layers[0], lambda: layers(torch.ones(1, 2)))
    assert found.shape == (1, 3)
    assert not layers[0]._forward_hooks


def test_several_outputs_come_in_the_order_of_asking_and_end_at_the_last_of_them() -> None:
    layers = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4), nn.Linear(4, 5))
    layers[2].register_forward_hook(lambda *_: pytest.fail("ran on"))
    found = outputs_of([layers[1], layers[0]], lambda: layers(torch.ones(1, 2)))
    assert [output.shape[1] for output in found] == [4, 3]
    assert not any(layer._forward_hooks for layer in layers[:2])


def test_nothing_is_run_for_no_module() -> None:
    assert outputs_of([], lambda: pytest.fail("ran")) == []
    assert inputs_of([], lambda: pytest.fail("ran")) == []


def test_a_module_that_is_never_run_is_named() -> None:
    with pytest.raises(RuntimeError, match="never ran Linear"):
        output_of(nn.Linear(1, 1), lambda: None)


def test_errors_of_the_pass_are_not_swallowed_and_hooks_are_removed() -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="shapes"):
        output_of(layer, lambda: layer(torch.ones(1, 3)))
    assert not layer._forward_hooks


def test_tokens_become_rows_and_columns_without_cls() -> None:
    tokens = torch.arange(7.0).reshape(1, 7, 1)
    torch.testing.assert_close(tokens_to_grid(tokens, (2, 3)), torch.tensor([[[[1.0, 2, 3], [4, 5, 6]]]]))


def test_registers_are_left_out_too() -> None:
    tokens = torch.arange(7.0).reshape(1, 7, 1)
    torch.testing.assert_close(tokens_to_grid(tokens, (1, 2), prefix=5), torch.tensor([[[[5.0, 6]]]]))


def test_blocks_count_from_either_end() -> None:
    check_block("x.layer", -4, 4)
    check_block("x.layer", 3, 4)
    with pytest.raises(PresetError, match=r"x\.layer is 4; this transformer has 4 blocks, 0 to 3"):
        check_block("x.layer", 4, 4)
