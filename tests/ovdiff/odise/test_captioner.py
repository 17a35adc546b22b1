import math
from dataclasses import replace

import pytest
import torch

from ovdiff.odise.captioner import ImplicitCaptioner, standardised
from ovdiff.odise.preset import CaptionerSettings

IMAGE, TOKENS, TEXT, TIME = 5, 3, 4, 6


@pytest.fixture
def captioner() -> ImplicitCaptioner:
    torch.manual_seed(0)
    made = ImplicitCaptioner(IMAGE, (TOKENS, TEXT), TIME, gate=0.0).double()
    for gate in (made.text_gate, made.time_gate):  # each cell has a gate of its own
        torch.nn.init.normal_(gate)
    return made


def test_a_condition_is_the_empty_text_and_what_the_gates_let_through(captioner: ImplicitCaptioner) -> None:
    """C.1: null + tanh(alpha) * (Linear(e) + positions), and tanh(beta) * (Linear(e) + positions) for the time."""
    embeddings, empty = torch.randn(2, IMAGE).double(), torch.randn(1, TOKENS, TEXT).double()
    found = captioner(embeddings, empty)
    assert found.time is not None
    assert (found.text.shape, found.time.shape) == ((2, TOKENS, TEXT), (2, TIME))
    for image in range(2):
        for channel in range(TEXT):
            said = sum(captioner.text.weight[channel, i].item() * embeddings[image, i].item() for i in range(IMAGE))
            said += captioner.text.bias[channel].item()
            for token in range(TOKENS):
                gate = math.tanh(captioner.text_gate[token, channel].item())
                expected = empty[0, token, channel].item()
                expected += gate * (said + captioner.text_positions[token, channel].item())
                assert found.text[image, token, channel].item() == pytest.approx(expected, abs=1e-12)
        for channel in range(TIME):
            shift = sum(captioner.time.weight[channel, i].item() * embeddings[image, i].item() for i in range(IMAGE))
            shift += (captioner.time.bias[channel] + captioner.time_positions[channel]).item()
            expected = math.tanh(captioner.time_gate[channel].item()) * shift
            assert found.time[image, channel].item() == pytest.approx(expected, abs=1e-12)


def test_closed_gates_say_nothing() -> None:
    closed = ImplicitCaptioner(IMAGE, (TOKENS, TEXT), TIME, gate=0.0)
    empty = torch.randn(1, TOKENS, TEXT)
    found = closed(torch.randn(2, IMAGE), empty)
    assert torch.equal(found.text, empty.expand(2, -1, -1))
    assert found.time is not None and not found.time.any()


def test_gates_begin_at_their_first_value_and_learn() -> None:
    opened = ImplicitCaptioner(IMAGE, (TOKENS, TEXT), TIME, gate=0.1)
    assert torch.equal(opened.text_gate, torch.full((TOKENS, TEXT), 0.1))
    assert torch.equal(opened.time_gate, torch.full((TIME,), 0.1))
    found = opened(torch.randn(2, IMAGE), torch.zeros(1, TOKENS, TEXT))
    assert found.time is not None
    (found.text.sum() + found.time.sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in opened.parameters())


def test_embeddings_are_divided_by_their_own_deviation_where_the_preset_says_so() -> None:
    embeddings = torch.randn(3, 50) * torch.tensor([[0.5], [2.0], [9.0]]) + 1
    plain = CaptionerSettings()
    assert torch.equal(standardised(embeddings, plain), embeddings)
    found = standardised(embeddings, replace(plain, standardise=True))
    assert torch.allclose(found.std(dim=1), torch.ones(3))
    assert torch.allclose(found, embeddings / torch.stack([row.std() for row in embeddings])[:, None])
