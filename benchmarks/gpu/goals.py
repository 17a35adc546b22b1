"""What the measurements are to reach on an H100 or H200; each goal stands beside what was measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NO_STAGES = ("whole", "folder", "CLIP text embedding", "MaskCut's keys")
"""Measurements that are wholes, or not in a sum: MaskCut's keys are in MaskCut."""


@dataclass(frozen=True)
class Goal:
    """A bound on one figure.

    Attributes:
        what: in words.
        group: the group of measurements that holds the figure.
        measurement: the measurement's name.
        figure: its name within the measurement.
        bound: the most that it may be, or with ``least`` the least.
        unit: the figure's unit.
        least: whether the figure must be at least the bound.
    """

    what: str
    group: str
    measurement: str
    figure: str
    bound: float
    unit: str
    least: bool = False


GOALS = (
    Goal("a category of paper, N = 32", "paper", "whole category", "times_the_floor", 3.0, "times the floor"),
    Goal("an image with paper", "paper", "whole image", "times_the_floor", 3.0, "times the floor"),
    Goal("memory of a category of paper", "paper", "whole category", "held_mib", 12_000.0, "MiB"),
    Goal("memory of an image with paper", "paper", "whole image", "held_mib", 6_000.0, "MiB"),
    Goal("an image with fast", "fast", "whole image", "seconds", 0.040, "s"),
    Goal("a category of fast", "fast", "whole category", "seconds", 3.0, "s"),
    Goal("GPU busy, a folder with paper", "paper", "folder of images", "gpu_busy", 0.85, "share of time", least=True),
    Goal("GPU busy, a folder with fast", "fast", "folder of images", "gpu_busy", 0.85, "share of time", least=True),
)


def judged(groups: Mapping[str, Any], *, counts: bool) -> list[dict[str, Any]]:
    """Return each goal with what was measured and whether it was reached; ``None`` where nothing was measured.

    Args:
        groups: the measurements.
        counts: whether they are of full size and of a GPU; of others nothing is said to be reached or missed.
    """
    return [_judged(goal, groups, counts) for goal in GOALS]


def _judged(goal: Goal, groups: Mapping[str, Any], counts: bool) -> dict[str, Any]:
    found = groups.get(goal.group, {}).get(goal.measurement, {}).get("found") or {}
    value = found.get(goal.figure)
    reached = None if value is None or not counts else value >= goal.bound if goal.least else value <= goal.bound
    bound = f"{'at least' if goal.least else 'at most'} {goal.bound:g} {goal.unit}"
    return {"goal": goal.what, "bound": bound, "measured": value, "reached": reached}


def with_whole_floors(groups: Mapping[str, Any]) -> dict[str, Any]:
    """Return the groups with a floor beside each whole category and image: the sum of its stages' floors.

    Stages of the host have none. A stage that failed or was not measured is named, for the sum lacks it. Captions are
    in no sum: when an image is timed they are known from the images before it.
    """
    found = {name: dict(group) for name, group in groups.items()}
    for name in ("paper", "fast"):
        for what, count in (("whole category", "items_per_category"), ("whole image", "items_per_image")):
            entry = found.get(name, {}).get(what, {})
            if entry.get("found"):
                found[name][what] = {**entry, "found": {**entry["found"], **_whole_floor(found[name], count, entry)}}
    return found


def _whole_floor(group: Mapping[str, Any], count: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    stages = {name: each for name, each in group.items() if not name.startswith(_NO_STAGES)}
    missing = [name for name, each in stages.items() if not each.get("found")]
    floors = [each["found"] for each in stages.values() if each.get("found") and "floor" in each["found"]]
    seconds = sum(each["floor"]["seconds"] * each[count] for each in floors)
    tflop = sum(each["floor"]["tflop"] * each[count] for each in floors)
    times = entry["found"]["seconds"] / seconds if seconds else None
    return {"floor_seconds": seconds, "floor_tflop": tflop, "times_the_floor": times, "floor_lacks": missing}
