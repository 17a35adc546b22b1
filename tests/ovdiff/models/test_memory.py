import logging
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch

from ovdiff.errors import DeviceMemoryError
from ovdiff.models.memory import batch_size, memory_of, run_in_batches


@dataclass(frozen=True)
class Memory:
    free: float
    used: float

    def free_mib(self) -> float:
        return self.free

    def used_mib(self) -> float:
        return self.used


def test_a_device_with_room_runs_what_is_wanted() -> None:
    assert batch_size(Memory(80_000, 3_000), 8, 500, 12.0, "x") == 8


def test_the_budget_counts_even_where_more_is_free() -> None:
    assert batch_size(Memory(80_000, 10_000), 8, 500, 12.0, "x") == 3  # (12288 - 10000 - 512) / 500


def test_free_memory_counts_even_where_the_budget_is_larger() -> None:
    assert batch_size(Memory(2_100, 0), 8, 500, 12.0, "x") == 3  # (2100 - 512) / 500


@pytest.mark.parametrize("memory", [Memory(900, 0), Memory(80_000, 12_000)])
def test_no_room_for_one_says_how_much_there_is_and_what_to_do(memory: Memory) -> None:
    with pytest.raises(DeviceMemoryError, match=r"no room for an image: it takes 500 MiB.*12\.0 GiB.*raise the preset"):
        batch_size(memory, 8, 500, 12.0, "an image")


def test_memory_of_a_cpu_is_not_rationed() -> None:
    assert memory_of(torch.device("cpu")) is None
    assert batch_size(None, 8, 500, 0.1, "x") == 8


class Device:
    """Fails for want of memory above a number of items, as torch does."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.batches: list[list[int]] = []

    def run(self, items: Sequence[int]) -> None:
        if len(items) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.batches.append(list(items))


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    device = Device(room=2)
    with caplog.at_level(logging.WARNING):
        run_in_batches(list(range(7)), 5, device.run, "sampling")
    assert [item for batch in device.batches for item in batch] == list(range(7))
    assert max(map(len, device.batches)) <= 2
    assert "sampling: 5 at once do not fit" in caplog.text


def test_one_item_that_does_not_fit_is_a_clear_error_and_keeps_what_ran() -> None:
    device = Device(room=0)
    with pytest.raises(DeviceMemoryError, match=r"too small for sampling, even one at a time: CUDA out of memory\."):
        run_in_batches([1, 2], 2, device.run, "sampling")


def test_other_errors_are_not_swallowed() -> None:
    def run(_items: Sequence[int]) -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        run_in_batches([1, 2], 2, run, "sampling")
