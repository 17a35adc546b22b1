"""The groups of measurements that `make gpu` runs, each in a process of its own."""

from collections.abc import Callable, Mapping
from dataclasses import asdict

from benchmarks.cost_seconds import machine
from benchmarks.gpu.context import Context, Results
from benchmarks.gpu.device_tests import run_device_tests
from benchmarks.gpu.options import option_measurements
from benchmarks.gpu.stage_times import stage_measurements
from benchmarks.gpu.training import train_drawn_world
from benchmarks.gpu.whole import whole_measurements

Measurements = Mapping[str, Callable[[], Results]]


def _ceilings(context: Context) -> Measurements:
    def measure() -> Results:
        return {"machine": machine(context.device), **asdict(context.ceilings)}

    return {"ceilings": measure}


def _preset(name: str) -> Callable[[Context], Measurements]:
    return lambda context: {**whole_measurements(context, name), **stage_measurements(context, name)}


GROUPS: dict[str, Callable[[Context], Measurements]] = {
    "machine": _ceilings,
    "tests": lambda context: {"tests/gpu": lambda: run_device_tests(context)},
    "fast": _preset("fast"),
    "paper": _preset("paper"),
    "options": option_measurements,
    "training": lambda context: {"drawn world": lambda: train_drawn_world(context)},
}
"""The measurements of each group by their names, in the order in which the groups run."""
