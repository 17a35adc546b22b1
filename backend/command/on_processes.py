"""The work of `ovdiff segment --workers`, in several processes of this machine: an engine and one thread each.

Processor seconds go furthest that way: several threads of one engine wait for one another (docs/one-cpu.md). Each
process loads the models for itself, which takes their seconds and their memory once more.

Tested by tests/backend/command/test_on_processes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from converters.workers import WorkerPool, worker_pool
from ovdiff.bank import Bank
from ovdiff.distributed.engine_worker import EngineSpec, start_engine
from ovdiff.distributed.pool import RayPool
from ovdiff.engines import SegmentationEngine, make_engine

_THREADS = 1


class Segmenters(Protocol):
    """Where engines like the one of this process segment: on a Ray cluster, or in processes of this machine."""

    def segmenters(self, engine: SegmentationEngine) -> AbstractContextManager[RayPool | WorkerPool]:
        """Return a pool of engines like this one, which ends with the block."""
        ...


@dataclass(frozen=True)
class OnProcesses:
    """Processes of this machine that a command works in.

    Attributes:
        count: how many.
        bank: the bank.
        device: torch's name of the device, with its options.
        maker: makes the engine from preset, bank and device.
    """

    count: int
    bank: Bank
    device: str
    maker: Callable[..., Any] = make_engine

    @contextmanager
    def segmenters(self, engine: SegmentationEngine) -> Iterator[WorkerPool]:
        """Yield a pool of engines like this one, which load their models with their first image.

        Raises:
            WorkersError: a process ended before its work did.
        """
        spec = EngineSpec(engine.preset, self.bank, self.device, maker=self.maker)
        with worker_pool(self.count, start_engine, (spec, _THREADS, False)) as pool:
            yield pool
