"""Groups of measurements run in processes of their own, so that one that crashes or hangs takes no other with it.

A process writes down each measurement as soon as it is made, and which one it has begun. If it ends before its time,
the measurement that it had begun has failed, and another process goes on with the rest::

    WORK/results/GROUP.json   {"whole image": {"found": {...}, "seconds": 3.2}, "PAMR": {"failed": "...", ...}}

What was found is not measured again by a later call; what failed or was not reached is. Each entry says on which
machine it was measured, and whether all was tiny.
"""

import json
import logging
import multiprocessing
import os
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.files.atomic import whole_text_file

Results = dict[str, Any]

NOT_REACHED: Results = {"not_reached": "no time was left for it"}
"""The entry of a measurement that the call's time did not suffice for; a group that never began has one, "group"."""

_log = logging.getLogger(__name__)
_PRELOADED = ["benchmarks.gpu.groups"]
_END_S = 20.0
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
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(_PRELOADED)  # the libraries are imported once, and not by each process
    for group in call.groups:
        path = _path(call, group)
        if call.again:
            path.unlink(missing_ok=True)
        _run_group(processes, call, group, deadline)
    return {path.stem: _read(path) for path in sorted((call.work / "results").glob("*.json"))}


def unfinished(groups: Mapping[str, Results], names: Sequence[str]) -> list[str]:
    """Return which measurements of some groups a further call would go on with, as "GROUP: MEASUREMENT"."""
    return [
        f"{group}: {name}"
        for group in names
        for name, entry in groups.get(group, {}).items()
        if entry == NOT_REACHED or _goes_on(entry)
    ]


def _run_group(processes: Any, call: Call, group: str, deadline: float) -> None:
    """Run a group's measurements; after a process that ended early, another one goes on."""
    _forget_failures(_path(call, group))
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            _log.warning("%s: no time is left for it", group)
            return
        _log.info("%s: begun, %.1f minutes left", group, left / 60)
        process = processes.Process(target=measure_group, args=(call, group, left))
        process.start()
        process.join(left + _END_S)
        if process.is_alive():
            process.kill()
            process.join()
        path = _path(call, group)
        results = _read(path)
        begun = [name for name, entry in results.items() if entry == {"begun": True}]
        for name in begun:
            over = time.monotonic() >= deadline
            why = "the call's time was over" if over else f"its process ended with exit code {process.exitcode}"
            results[name] = {"failed": why}
            _log.error("%s, %s: %s", group, name, why)
        if not begun and process.exitcode and NOT_REACHED in results.values():
            results["group"] = {"failed": f"its process ended with exit code {process.exitcode}"}
        _write(path, results)
        if not begun:
            return


def measure_group(call: Call, group: str, seconds: float) -> None:
    """Make a group's measurements that are not made yet, in this process, and write down each."""
    from benchmarks.gpu.context import Context
    from benchmarks.gpu.groups import GROUPS

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    os.environ["HF_HUB_OFFLINE"] = "1"  # whatever asks for a network fails at once, and not after minutes
    path, deadline = _path(call, group), time.monotonic() + seconds
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
        begun = time.monotonic()
        try:
            entry: Results = {"found": measure()}
        except Exception as error:  # noqa: BLE001
            entry = _failure(error)
            _log.error("%s, %s failed: %s", group, name, error)
        entry |= {"seconds": round(time.monotonic() - begun, 2), "machine": call.machine, "tiny": call.tiny}
        _log.info("%s, %s: %.1f s", group, name, entry["seconds"])
        _write(path, {**results, name: entry})


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
