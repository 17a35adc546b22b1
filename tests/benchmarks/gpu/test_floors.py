"""Floors of small layers, counted by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.gpu.floors import Ceilings, Work, floor, work_of

FLOAT = 4


def test_a_linear_layer() -> None:
    layer, rows = nn.Linear(3, 5), torch.randn(7, 3)
    found = work_of(lambda: layer(rows))
    assert found == Work(2 * 7 * 3 * 5, FLOAT * (7 * 3 + 3 * 5 + 5 + 7 * 5))


def test_a_convolution_with_a_stride() -> None:
    layer, images = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), torch.randn(2, 4, 8, 8)
    found = work_of(lambda: layer(images))
    made = 2 * 6 * 4 * 4
    assert found == Work(2 * made * 4 * 3 * 3, FLOAT * (2 * 4 * 8 * 8 + 6 * 4 * 3 * 3 + made))


def test_attention_moves_no_matrix_of_all_pairs() -> None:
    query, key, value = (torch.randn(2, 3, places, 8) for places in (5, 7, 7))
    found = work_of(lambda: F.scaled_dot_product_attention(query, key, value))
    assert found.flop == 2 * 2 * (2 * 3 * 5 * 7 * 8)
    assert found.bytes == FLOAT * 2 * 3 * 8 * (5 + 7 + 7 + 5)


def test_what_stays_between_two_layers_is_not_moved_and_a_weight_that_is_used_twice_is_read_once() -> None:
    layer, rows = nn.Linear(4, 4, bias=False), torch.randn(16, 4)
    found = work_of(lambda: layer(layer(rows)))
    assert found == Work(2 * 2 * 16 * 4 * 4, FLOAT * (16 * 4 + 4 * 4 + 16 * 4))


def test_of_a_table_only_the_rows_are_read_that_are_looked_up() -> None:
    table, wanted = nn.Embedding(1000, 8), torch.tensor([3, 5])
    assert work_of(lambda: table(wanted)).bytes == 2 * 8 + 2 * (FLOAT * 2 * 8)  # int64, read and written


def test_what_is_made_and_let_go_is_not_counted_when_its_memory_is_used_again() -> None:
    rows = torch.randn(64)

    def run() -> torch.Tensor:
        for _ in range(50):
            rows.sin().sum().item()
        return rows.cos()

    assert work_of(run).bytes == FLOAT * (64 + 64)


def test_the_floor_is_the_longer_of_arithmetic_and_traffic() -> None:
    ceilings = Ceilings({"bfloat16": 100.0, "float32": 10.0}, 50.0)
    work = Work(200.0, 100.0)
    assert floor(work, ceilings, "bfloat16").seconds == 2.0
    assert floor(work, ceilings, "float32").seconds == 20.0
    assert floor(work, ceilings, "float32").bound_by == "arithmetic"
    slow = floor(Work(200.0, 1000.0), ceilings, "bfloat16")
    assert (slow.seconds, slow.bound_by) == (20.0, "bandwidth")
    with pytest.raises(KeyError):
        floor(work, ceilings, "float8")
    assert work.per_item(4) == Work(50.0, 25.0)
