import pytest
import torch
from torch import nn

from ovdiff.extractors.keys import output_of, tokens_to_grid


def test_the_pass_ends_at_the_module() -> None:
    layers = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    layers[1].register_forward_hook(lambda *_: pytest.fail("ran on"))
    found = output_of(layers[0], lambda: layers(torch.ones(1, 2)))
    assert found.shape == (1, 3)
    assert not layers[0]._forward_hooks


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
