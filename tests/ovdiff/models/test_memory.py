import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch

from ovdiff.errors import DeviceMemoryError
from ovdiff.models.memory import Work, batch_size, free_mib, items_that_fit, memory_of, run_in_batches

CPU = torch.device("cpu")
SAMPLING = Work("an image", wanted=8, mib_per_item=500, budget_gib=12.0)


@dataclass(frozen=True)
class Memory:
    free: float
    used: float

    def free_mib(self) -> float:
        return self.free

    def used_mib(self) -> float:
        return self.used


def test_a_device_with_room_runs_as_many_as_are_wanted() -> None:
    assert items_that_fit(Memory(80_000, 3_000), SAMPLING) == 8


def test_the_budget_counts_even_where_more_is_free() -> None:
    assert items_that_fit(Memory(80_000, 10_000), SAMPLING) == 3  # (12288 - 10000 - 512) / 500


def test_free_memory_counts_even_where_the_budget_is_larger() -> None:
    assert items_that_fit(Memory(2_100, 0), SAMPLING) == 3  # (2100 - 512) / 500


def test_work_of_unknown_size_leaves_memory_out() -> None:
    assert items_that_fit(Memory(0, 0), Work("x", 8, 0, 12.0)) == 8


def test_the_device_is_asked_for_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ovdiff.models.memory.memory_of", lambda _device: Memory(2_100, 0))
    assert batch_size(CPU, SAMPLING) == 3
    assert free_mib(CPU) == 2_100


@pytest.mark.parametrize("memory", [Memory(900, 0), Memory(80_000, 12_000)])
def test_no_room_for_one_says_how_much_there_is_and_what_to_do(memory: Memory) -> None:
    with pytest.raises(DeviceMemoryError, match=r"no room for an image: it takes 500 MiB.*12\.0 GiB.*raise the preset"):
        items_that_fit(memory, SAMPLING)


def test_what_a_batch_of_any_size_takes_must_fit_too() -> None:
    work = Work("an image", wanted=32, mib_per_item=70, budget_gib=8.0, mib_at_least=390)
    assert items_that_fit(Memory(80_000, 2_800), work) == 32
    assert items_that_fit(Memory(912, 0), work) == 5  # (912 - 512) / 70
    with pytest.raises(DeviceMemoryError, match="it takes 390 MiB"):
        items_that_fit(Memory(900, 0), work)


def test_memory_of_a_cpu_is_not_rationed() -> None:
    assert memory_of(CPU) is None
    assert batch_size(CPU, Work("x", 8, 500, budget_gib=0.1)) == 8
    assert free_mib(CPU) == math.inf


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
