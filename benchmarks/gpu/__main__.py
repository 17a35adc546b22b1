"""Measure everything that only a GPU shows, beside its floor and its goal; then train the drawn world's models.

    python -m benchmarks.gpu --out runs/gpu --minutes 25        # `make gpu`
    python -m benchmarks.gpu --out runs/gpu --minutes 9 --stage machine tests fast
    python -m benchmarks.gpu --out runs/gpu --minutes 9 --stage paper
    python -m benchmarks.gpu --out runs/gpu --minutes 9 --stage training      # again and again until it is finished
    python -m benchmarks.gpu --out runs/gpu --tiny              # some minutes on a CPU: tries the command out

Nothing is downloaded: weights are random, of the real architectures, for cost depends on no trained value. Results of
all calls add up in ``gpu.json`` in the folder given; weights of the drawn world's models lie beside it as
``weights.tar.00`` and so on. A measurement that fails is written down with its error, and the others go on; the exit
status is then 1, and the next call tries it again. It is 3 where nothing failed but time was over, and a further call
goes on; and 2 where the folder holds results of another machine, or of a tiny trial: they are never mixed.
"""

import argparse
import json
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.gpu.goals import judged, with_whole_floors
from benchmarks.gpu.kinds import OtherKindError, settled, this_kind
from benchmarks.gpu.running import Call, run_groups, unfinished
from converters.files.atomic import whole_text_file

NAMES = ("machine", "tests", "fast", "paper", "options", "training")
"""The stages, in the order in which they run."""

_TINY_TRAINING_MINUTES = 0.05
_FAILED, _NOT_REACHED = 1, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for, write the results, print a table, and return the exit status."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    device = options.device or _device()
    work, kind = options.work or options.out / "work", this_kind(device, tiny=options.tiny)
    groups_asked = tuple(name for name in NAMES if name in options.stage)
    try:
        of_folder = settled(work, kind, groups_asked)
    except OtherKindError as error:
        print(error, file=sys.stderr)
        return 2
    call = Call(
        groups_asked,
        options.out,
        work,
        device,
        options.tiny,
        options.minutes,
        _TINY_TRAINING_MINUTES if options.tiny else options.train_minutes,
        options.again,
        kind.machine,
    )
    groups = with_whole_floors(run_groups(call))
    told = {**asdict(of_folder), "goals": judged(groups, counts=kind.counts), "groups": groups}
    with whole_text_file(call.out / "gpu.json") as file:
        json.dump(told, file, indent=1)
    print("\n".join(table(told)))
    asked = [entry for name in call.groups for entry in groups.get(name, {}).values()]
    if any("failed" in entry or _failed_tests(entry) for entry in asked):
        return _FAILED
    if left := unfinished(groups, call.groups):
        print(f"Time was over; call again with the same --out to go on with {'; '.join(left)}.", file=sys.stderr)
        return _NOT_REACHED
    return 0


def table(told: Mapping[str, Any]) -> list[str]:
    """Return the results in lines: goals, stages that have a floor, and what failed."""
    lines = [f"on {told['machine']}{', all of it tiny' if told['tiny'] else ''}", "", "goals:"]
    for goal in told["goals"]:
        measured = "not measured" if goal["measured"] is None else f"{goal['measured']:.3g}"
        reached = {None: "", True: ", reached", False: ", NOT reached"}[goal["reached"]]
        lines.append(f"  {goal['goal']}: {measured} ({goal['bound']}{reached})")
    for name, group in told["groups"].items():
        lines += ["", f"{name}:"]
        for what, entry in group.items():
            lines += [f"  {what}: {_line(entry)}", *(f"    FAILED: {test}" for test in _failed_tests(entry))]
    return lines


def _failed_tests(entry: Mapping[str, Any]) -> list[str]:
    return list(entry.get("found", {}).get("failures", {}))


def _line(entry: Mapping[str, Any]) -> str:
    if "failed" in entry:
        return f"FAILED: {entry['failed'].splitlines()[0][:200]}"
    if "not_reached" in entry:
        return f"not reached: {entry['not_reached']}"
    found = entry.get("found", {})
    if "floor" in found:
        times = found["times_the_floor"]
        beside = "" if times is None else f", {times:.1f} times its floor ({found['floor']['bound_by']})"
        return f"{1000 * found['seconds_per_item']:.3f} ms a {found['item']}, {found['batch']} at once{beside}"
    figures = {key: value for key, value in found.items() if isinstance(value, int | float | bool | str)}
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in figures.items()
    )


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"expected minutes, more than 0, got {text!r:.60}")
    return minutes


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, required=True, help="the folder of the results; those of earlier calls stay"
    )
    parser.add_argument("--work", type=Path, help="checkpoints and the like, for the next call; OUT/work by default")
    parser.add_argument("--stage", nargs="+", choices=NAMES, default=list(NAMES), help="all by default")
    parser.add_argument("--minutes", type=_minutes, default=25.0, help="how long this call may take (25)")
    parser.add_argument(
        "--train-minutes", type=_minutes, default=15.0, help="of training altogether, all calls added (15)"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="cuda by default where there is one")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try the command out")
    parser.add_argument("--again", action="store_true", help="measure anew what was found by earlier calls")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
