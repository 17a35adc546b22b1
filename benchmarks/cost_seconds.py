"""How long full-size stages take on this machine, beside the time that their arithmetic alone would take.

A stage's floor in seconds is section B's arithmetic at the speed of a plain matrix product, the named peer, measured
in the same run on the same device and in the same dtype. The ratio of both is what travels between machines.
"""

import gc
import platform
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.cost_stages import Run, Stage
from benchmarks.full_size_models import FullSizeParts
from benchmarks.memory_trace import MIB

_LONG_S = 2.0  # what takes longer is run once: it has warmed up within itself
_REPEATS_CPU, _REPEATS_GPU, _WARM_UPS_GPU = 3, 5, 2


@dataclass(frozen=True)
class Timing:
    """Median seconds of a call; on a GPU also the peak of what was allocated during it, weights included."""

    seconds: float
    repeats: int
    peak_mib: float | None = None


def machine(device: str) -> str:
    """Describe what runs, without a name by which it could be found."""
    if device == "cuda":
        processor = torch.cuda.get_device_name()
    else:
        cpuinfo = Path("/proc/cpuinfo")
        found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.is_file() else None
        model = found.group(1).strip() if found else platform.machine()
        processor = f"{model} ({platform.machine()}), {torch.get_num_threads()} thread(s)"
    return f"{processor}, torch {torch.__version__}"


def time_call(call: Run, device: str) -> Timing:
    """Return the median duration of a call."""
    return _time_on_gpu(call) if device == "cuda" else _time_on_cpu(call)


def gmac_per_s(device: str, dtype: torch.dtype) -> float:
    """Return the speed of a square matrix product, in 10^9 multiplications with addition a second."""
    side = 8192 if device == "cuda" else 2048
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return side**3 / 1e9 / time_call(lambda: left @ right, device).seconds


def time_stage(parts: FullSizeParts, stage: Stage, count: int, device: str) -> Timing:
    """Time a stage on a number of items."""
    with torch.inference_mode():
        return time_call(stage.prepare(parts, count), device)


def release(device: str) -> None:
    """Give back memory that nothing refers to."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def in_turns(calls: Sequence[Run], device: str, rounds: int) -> list[float]:
    """Return each call's median seconds, timed in turns so that a change of the machine's load meets all."""
    times = [[time_once(call, device) for call in calls] for _ in range(rounds)]
    return [statistics.median(of_call) for of_call in zip(*times, strict=True)]


def time_once(call: Run, device: str) -> float:
    """Return the seconds of one call; a CPU's are processor seconds, which others on the machine do not lengthen."""
    if device == "cpu":
        begun = time.process_time()
        call()
        return time.process_time() - begun
    torch.cuda.synchronize()
    begun = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


def _time_on_cpu(call: Run) -> Timing:
    first = time_once(call, "cpu")
    if first > _LONG_S:
        return Timing(first, 1)
    return Timing(statistics.median(time_once(call, "cpu") for _ in range(_REPEATS_CPU)), _REPEATS_CPU)


def _time_on_gpu(call: Run) -> Timing:
    for _ in range(_WARM_UPS_GPU):
        call()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(_REPEATS_GPU):
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun.record()
        call()
        ended.record()
        torch.cuda.synchronize()
        times.append(begun.elapsed_time(ended) / 1000)
    return Timing(statistics.median(times), _REPEATS_GPU, torch.cuda.max_memory_allocated() / MIB)
