"""What stages cost: what this project counted and measured (stages.json), and measurements of other machines.

A stage is a step of building a category or of labelling an image, named as in benchmarks/cost_stages.py. stages.json
says for each preset how often a category or an image needs it, and what one item takes. A file of measurements is a
JSON list, or an object whose "stages" is such a list, of rows::

    {"stage": "PAMR", "preset": "fast", "device": "NVIDIA H100 80GB HBM3",
     "seconds": 0.0021, "bytes": 1.1e9, "flops": 0.0}

All three are of one item. "seconds" is the wall time with the batch that the product would choose, divided by the
items of the batch; "bytes" what the device's memory moves; "flops" multiplications and additions, counted as two.
"bytes" and "flops" may be null or absent. Other keys are ignored. The gpu.json of `make gpu` is read as it is.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from ovdiff.errors import PlanError
from ovdiff.planning.devices import CPU, Precision

Part = Literal["category", "encode", "label"]
"""A stage belongs to building a category, to encoding an image, or to labelling what was encoded."""


@dataclass(frozen=True)
class Stage:
    """One stage of a preset.

    Attributes:
        name: its name.
        part: what it belongs to.
        items: how many items a category or an image takes.
        item: what an item is: "image", "window", ...
        runs_on: "device", or "core" where it runs on a core of the CPU beside the device.
        precision: of its matrix products.
        flops: operations of an item; ``None`` if nobody counted them.
        bytes: bytes that an item moves in the device's memory, without fusing; ``None`` if nobody counted them.
        note: what is supposed; "" if nothing is.
    """

    name: str
    part: Part
    items: float
    item: str = "image"
    runs_on: Literal["device", "core"] = "device"
    precision: Precision = "half"
    flops: float | None = None
    bytes: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Sizes:
    """Bytes of a preset's files and of its processes.

    Attributes:
        weights: of all models, as they lie in the device's memory.
        encoding: of an image's encoding, as `cache.disk_mib` keeps it.
        category: of a category's prototypes and support images.
        masks: of the masks of one word of an image, as COCO RLE.
        device_category: the most that building a category takes of the device's memory, weights included.
        device_image: the same for an image.
        host_cache: the most that a process keeps of encodings in the machine's memory.
    """

    weights: float
    encoding: float
    category: float
    masks: float
    device_category: float
    device_image: float
    host_cache: float


@dataclass(frozen=True)
class PresetCosts:
    """A preset's stages and sizes, and the categories that are built once for all its projects."""

    preset: str
    stages: tuple[Stage, ...]
    sizes: Sizes
    anchors: int


@dataclass(frozen=True)
class Measurement:
    """Measured seconds of one item of a stage.

    Attributes:
        stage: the stage's name.
        preset: the preset's name.
        device: what it ran on, as torch names it; a CPU's begins with "cpu".
        seconds: of one item.
        bytes: that an item moves; ``None`` if nobody counted them.
        flops: of an item; ``None`` if nobody counted them.
        source: the file that says so.
    """

    stage: str
    preset: str
    device: str
    seconds: float
    bytes: float | None = None
    flops: float | None = None
    source: str = ""

    def is_on(self, device: str) -> bool:
        """Say whether it was measured on a device of this name, such as "H100" for "NVIDIA H100 80GB HBM3"."""
        is_cpu = self.device.lower().lstrip().startswith("cpu")
        if is_cpu or device.upper() == CPU:
            return is_cpu and device.upper() == CPU
        # A whole word, perhaps with spaces in it: an L40S is no L4, and a GeForce RTX 4090 is an RTX4090.
        word = r"\s*".join(map(re.escape, "".join(device.split())))
        return re.search(rf"(?<![^\W_]){word}(?![^\W_])", self.device, re.IGNORECASE) is not None


def preset_costs(preset: str) -> PresetCosts:
    """Return what is known of a preset.

    Raises:
        PlanError: nobody counted the stages of this preset.
    """
    known = shipped()["presets"]
    if preset not in known:
        raise PlanError(
            f"Nobody counted what the preset {preset!r} costs; a plan can be made for {', '.join(known)}: give "
            f"--preset with the one that is most like it."
        )
    row = known[preset]
    stages = tuple(Stage(**stage) for stage in row["stages"])
    return PresetCosts(preset, stages, Sizes(**row["sizes"]), row["anchors"])


def measurements(files: Iterable[Path] = ()) -> list[Measurement]:
    """Return the measurements of given files, and after them those that come with the package.

    Raises:
        PlanError: a file cannot be read, or is no such file.
    """
    given = [row for file in files for row in read_measurements(file)]
    return [*given, *(_measurement(row, row["source"]) for row in shipped()["measured"])]


def read_measurements(file: Path) -> list[Measurement]:
    """Return the rows of a file of measurements that have seconds.

    Raises:
        PlanError: the file cannot be read, or is no such file; the message says which row is wrong, and how.
    """
    try:
        read = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PlanError(f"The measurements {str(file)!r} cannot be read: {error}.") from None
    if isinstance(read, dict) and "groups" in read and read.get("tiny"):
        raise PlanError(
            f"{str(file)!r} is a trial of `make gpu` at small sizes (--tiny), which measures nothing of the presets; "
            f"give the gpu.json of a call without --tiny."
        )
    rows = _rows_of(read) if isinstance(read, dict) else read
    if not isinstance(rows, list):
        raise PlanError(
            f"{str(file)!r} is no file of measurements; expected a JSON list of rows with stage, preset, device, "
            f"seconds, bytes and flops, or an object whose 'stages' is such a list."
        )
    return [_checked(row, number, file) for number, row in enumerate(rows) if _seconds(row) is not None]


def cpu_rate(precision: Precision) -> tuple[float, str]:
    """Return the measured 10^12 operations a second of one thread's matrix product, and where it was measured."""
    rate = shipped()["cpu"]
    return rate[precision], rate["device"]


@cache
def shipped() -> Mapping[str, Any]:
    """Return what comes with the package; `python -m benchmarks.stage_costs` writes it."""
    return json.loads(resources.files("ovdiff.planning").joinpath("stages.json").read_text("utf-8"))


def _rows_of(read: Mapping[str, Any]) -> object:
    """Return the rows of an object; those of `make gpu` stand by preset and stage in its groups."""
    groups = read.get("groups")
    if not isinstance(groups, dict):
        return read.get("stages")
    try:
        device = groups["machine"]["ceilings"]["found"]["machine"]
        return [
            {
                "stage": stage,
                "preset": preset,
                "device": entry.get("machine", device),
                "seconds": entry["found"]["seconds_per_item"],
                "bytes": entry["found"].get("floor", {}).get("gbyte", 0) * 1e9 or None,
                "flops": entry["found"].get("floor", {}).get("tflop", 0) * 1e12 or None,
            }
            for preset, group in groups.items()
            for stage, entry in group.items()
            if "seconds_per_item" in entry.get("found", {}) and not entry.get("tiny")
        ]
    except (AttributeError, KeyError, TypeError):
        return None


def _seconds(row: Any) -> object:
    return row.get("seconds") if isinstance(row, dict) else row


def _checked(row: Any, number: int, file: Path) -> Measurement:
    if not isinstance(row, dict):
        raise PlanError(f"Row {number} of {str(file)!r} is {row!r:.60}; expected an object.")
    for name in ("stage", "preset", "device"):
        if not isinstance(row.get(name), str) or not row[name]:
            raise PlanError(f"Row {number} of {str(file)!r} has the {name} {row.get(name)!r:.60}; expected a name.")
    for name in ("seconds", "bytes", "flops"):
        value = row.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (is_number and math.isfinite(value) and value >= 0):
            raise PlanError(
                f"Row {number} of {str(file)!r} has the {name} {value!r:.60}; expected a number from 0, or null."
            )
    return _measurement(row, str(file))


def _measurement(row: Mapping[str, Any], source: str) -> Measurement:
    named = {name: row.get(name) for name in ("stage", "preset", "device", "seconds", "bytes", "flops")}
    return Measurement(**named, source=source)  # type: ignore[arg-type]
