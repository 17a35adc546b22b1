"""Groups of measurements run in processes of their own, so that one that crashes or hangs takes no other with it.

A process writes down each measurement as soon as it is made, and which one it has begun. If it ends before its time,
or the measurement takes too long, the measurement has failed, and another process goes on with the rest::

    WORK/results/GROUP.json   {"whole image": {"found": {...}, "seconds": 3.2}, "PAMR": {"failed": "...", ...}}

What was found is not measured again by a later call; what failed or was not reached is. Each entry says on which
machine it was measured, and whether all was tiny.
"""

import json
import logging
import math
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.files.atomic import whole_text_file

Results = dict[str, Any]

NOT_REACHED: Results = {"not_reached": "no time was left for it"}
"""The entry of a measurement that the call's time did not suffice for; a group that never began has one, "group"."""

_log = logging.getLogger(__name__)
_PRELOADED = ["benchmarks.gpu.imported"]
_END_S = 20.0
_LOOK_EVERY_S = 1.0
_LONGEST_S = 420.0
"""Of a measurement: one that hangs is ended, so that the others have their time. To compile takes some minutes."""
_MOST_PROCESSES = 6
"""Of a group: each takes its time to import the libraries, and a GPU may be lost for good."""
_MAY_TAKE_S = {"tests": 900.0, "training": math.inf}
"""Of the groups whose one measurement takes longer: all tests are one; a training ends by itself when the call does."""
_LOST = 70
"""The exit status of a process that cannot use the GPU any more."""
_MOST_ERROR = 4000


@dataclass(frozen=True)
class Call:
    """What one call of the command asks for.

    Attributes:
        groups: the names of the groups to run, in order.
        out: the folder of the results.
        work: the folder of what is kept for the next call.
        device: "cpu" or "cuda".
        tiny: whether all is small.
        minutes: how long this call may take.
        train_minutes: how long the drawn world's models are trained altogether.
        again: whether what was found is measured anew.
        machine: the GPU's name, or "cpu".
    """

    groups: tuple[str, ...]
    out: Path
    work: Path
    device: str
    tiny: bool = False
    minutes: float = 25.0
    train_minutes: float = 15.0
    again: bool = False
    machine: str = "cpu"


def run_groups(call: Call) -> dict[str, Results]:
    """Run the groups until they or the time end; return all results of the folder, those of earlier calls included."""
    deadline = time.monotonic() + 60 * call.minutes
    (call.work / "results").mkdir(parents=True, exist_ok=True)
    call.out.mkdir(parents=True, exist_ok=True)
    processes = processes_for(call.device)
    for group in call.groups:
        path = _path(call, group)
        if call.again:
            path.unlink(missing_ok=True)
        _run_group(processes, call, group, deadline)
    return {path.stem: _read(path) for path in sorted((call.work / "results").glob("*.json"))}


def processes_for(device: str) -> Any:
    """Return what starts processes that may use a device.

    A process that was forked from one in which torch has asked whether there is a GPU cannot use it ("Cannot
    re-initialize CUDA in forked subprocess"), and diffusers asks when it is imported. So for a GPU each process imports
    the libraries anew; for a CPU they are imported once.
    """
    if device == "cuda":
        return multiprocessing.get_context("spawn")
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload(_PRELOADED)
    return forking


def unfinished(groups: Mapping[str, Results], names: Sequence[str]) -> list[str]:
    """Return which measurements of some groups a further call would go on with, as "GROUP: MEASUREMENT"."""
    return [
        f"{group}: {name}"
        for group in names
        for name, entry in groups.get(group, {}).items()
        if entry == NOT_REACHED or _goes_on(entry)
    ]


def _run_group(processes: Any, call: Call, group: str, deadline: float) -> None:
    """Run a group's measurements; after a process that ended early, another one goes on, but not for ever."""
    path = _path(call, group)
    _forget_failures(path)
    for number in range(1, _MOST_PROCESSES + 1):
        left = deadline - time.monotonic()
        if left <= 0:
            _log.warning("%s: no time is left for it", group)
            return
        _log.info("%s: begun, %.1f minutes left", group, left / 60)
        process = processes.Process(target=measure_group, args=(call, group, deadline))
        process.start()
        why = _ended(process, path, deadline, _MAY_TAKE_S.get(group, _LONGEST_S))
        results = _read(path)
        begun = [name for name, entry in results.items() if entry == {"begun": True}]
        for name in begun:
            results[name] = {"failed": why} if why else NOT_REACHED
            _log.error("%s, %s: %s", group, name, why or "the call's time was over")
        is_left, goes_on = NOT_REACHED in results.values(), bool(begun) or process.exitcode == _LOST
        if is_left and process.exitcode and why and (not goes_on or number == _MOST_PROCESSES):
            results["group"] = {"failed": f"{why}, and so did {number - 1} before it" if number > 1 else why}
        _write(path, results)
        if not (is_left and goes_on):
            return


def _ended(process: Any, path: Path, deadline: float, longest_s: float) -> str:
    """Wait until a process has ended, or end it; return what is to be said of a measurement that it had begun.

    It is ended when its time is over, of which "" is said, and when one measurement takes too long.
    """
    begun, since = "", time.monotonic()
    while True:
        process.join(_LOOK_EVERY_S)
        now = time.monotonic()
        if not process.is_alive():
            return "" if now >= deadline else f"its process ended with exit code {process.exitcode}"
        name = next((name for name, entry in _read(path).items() if entry == {"begun": True}), "")
        if name != begun:
            begun, since = name, now
        if now >= deadline + _END_S or (begun and now - since > longest_s):
            process.kill()
            process.join()
            return "" if now >= deadline else f"it took longer than {longest_s / 60:.0f} minutes"


def measure_group(call: Call, group: str, deadline: float) -> None:
    """Make a group's measurements that are not made yet, in this process, and write down each.

    Args:
        call: what is asked for.
        group: the group's name.
        deadline: when to end, by ``time.monotonic``, which counts alike in all processes of a machine.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # whatever asks for a network fails at once; read when the library is imported
    from benchmarks.gpu.context import Context
    from benchmarks.gpu.groups import GROUPS

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    path = _path(call, group)
    context = Context(call.device, call.tiny, call.out, call.work, deadline, call.train_minutes)
    _one_thread_on_a_cpu(call.device)
    try:
        measurements = GROUPS[group](context)
    except Exception as error:  # noqa: BLE001 — whatever it is, it is written down
        _write(path, {**_read(path), "group": _failure(error)})
        return
    earlier = _read(path)
    _write(path, {name: earlier.get(name, NOT_REACHED) for name in measurements})
    for name, measure in measurements.items():
        results = _read(path)
        if results[name] != NOT_REACHED and not _goes_on(results[name]):
            continue
        if context.seconds_left() <= 0:
            return
        _write(path, {**results, name: {"begun": True}})
        entry = _measured(call, f"{group}, {name}", measure)
        _write(path, {**results, name: entry})
        if "failed" in entry and call.device == "cuda":
            _require_gpu()


def _measured(call: Call, name: str, measure: Callable[[], Results]) -> Results:
    """Return the entry of a measurement that is made now."""
    begun = time.monotonic()
    try:
        entry: Results = {"found": measure()}
    except Exception as error:  # noqa: BLE001
        entry = _failure(error)
        _log.error("%s failed: %s", name, error)
    entry |= {"seconds": round(time.monotonic() - begun, 2), "machine": call.machine, "tiny": call.tiny}
    _log.info("%s: %.1f s", name, entry["seconds"])
    return entry


def _require_gpu() -> None:
    """End this process if the GPU is lost to it; else give back the memory that a failure left.

    After some errors of a kernel, such as an illegal access, every further call of CUDA in the same process fails.
    """
    import torch

    from benchmarks.cost_seconds import release

    try:
        torch.cuda.synchronize()
        release("cuda")
    except RuntimeError as error:
        _log.error("the GPU is lost to this process, and another one goes on: %s", error)
        sys.exit(_LOST)


def _one_thread_on_a_cpu(device: str) -> None:
    import torch

    if device == "cpu":
        torch.set_num_threads(1)


def _goes_on(entry: Results) -> bool:
    """Say whether a measurement is one that a later call goes on with."""
    return entry.get("found", {}).get("finished") is False


def _failure(error: Exception) -> Results:
    text = "".join(traceback.format_exception(error))
    return {"failed": f"{type(error).__name__}: {error}"[:_MOST_ERROR], "where": text[-_MOST_ERROR:]}


def _forget_failures(path: Path) -> None:
    earlier = {name: entry for name, entry in _read(path).items() if name != "group"}
    kept = {name: entry if "found" in entry else NOT_REACHED for name, entry in earlier.items()}
    _write(path, kept or {"group": NOT_REACHED})


def _path(call: Call, group: str) -> Path:
    return call.work / "results" / f"{group}.json"


def _read(path: Path) -> Results:
    return json.loads(path.read_text()) if path.is_file() else {}


def _write(path: Path, results: Results) -> None:
    with whole_text_file(path) as file:
        json.dump(results, file, indent=1)
