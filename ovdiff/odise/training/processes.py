"""What the processes of one training tell each other, by torch.distributed. Alone, a process tells nobody anything.

``torchrun --nproc-per-node 4 -m backend.command.cli odise train ...`` starts the processes. Each works on its part of
every batch. A loss is a sum over segments divided by a count, so the count must be that of the whole batch: then the
processes' gradients add up to those of one process. The first process alone writes files.

Tested by tests/ovdiff/odise/training/test_run.py, with real processes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

_LONGEST_WAIT = timedelta(days=7)
"""So long others wait for the first process, which encodes all images."""


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the other processes if torch's launcher started this one, and give the device of this process."""
    if not dist.is_torchelastic_launched() or dist.is_initialized():
        yield device
        return
    own = device
    if device == "cuda":
        own = f"cuda:{dist.get_node_local_rank(0)}"
        torch.cuda.set_device(torch.device(own))
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=_LONGEST_WAIT)
    try:
        yield own
    finally:
        dist.destroy_process_group()


def process_count() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process_number() -> int:
    """Return which of them this one is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def wait_for_all() -> None:
    """Wait until all processes are here."""
    if dist.is_initialized():
        dist.barrier()


def sum_of_all(value: Tensor) -> Tensor:
    """Return the sum of a value over all processes. No gradient flows through it."""
    if not dist.is_initialized():
        return value
    summed = value.detach().clone()
    dist.all_reduce(summed)
    return summed


def rows_of_all(rows: Tensor) -> Tensor:
    """Return the rows (b, ...) of all processes, (B, ...), in their order. Gradients flow to this process's rows."""
    if not dist.is_initialized():
        return rows
    parts = [torch.empty_like(rows) for _ in range(process_count())]
    dist.all_gather(parts, rows.detach().contiguous())
    parts[process_number()] = rows
    return torch.cat(parts)
