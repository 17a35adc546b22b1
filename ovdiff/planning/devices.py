"""What makers publish of devices: data in devices.toml beside this module, each with its source."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from ovdiff.errors import PlanError

Precision = Literal["half", "float32"]

CPU = "CPU"
"""The device of a plan whose workers are processes of one thread; its stages were measured, see stages.json."""

USUAL_GPU = "H100"
"""The device of a plan that names none, of a preset whose stages are known there."""


@dataclass(frozen=True)
class Device:
    """A device as its maker describes it.

    Attributes:
        name: as `--gpus` names it.
        half: 10^12 operations a second of matrix products in half precision.
        float32: the same in float32, without tensor cores.
        bandwidth_gb_s: 10^9 bytes a second between the device and its memory.
        memory_gb: 10^9 bytes of its memory.
        source: where these figures were published.
    """

    name: str
    half: float
    float32: float
    bandwidth_gb_s: float
    memory_gb: float
    source: str

    def tflop_per_s(self, precision: Precision) -> float:
        """Return 10^12 operations a second of matrix products."""
        return self.half if precision == "half" else self.float32


def device_names() -> tuple[str, ...]:
    """Return the devices whose figures are known, the CPU included."""
    return (*_devices(), CPU)


def published(name: str) -> Device | None:
    """Return what is published of a device, whatever the case of its name; ``None`` for the CPU.

    Raises:
        PlanError: nothing is known of such a device.
    """
    if name.upper() == CPU:
        return None
    if name.upper() not in _devices():
        raise PlanError(
            f"Nothing is known of a device {name!r}; expected one of {', '.join(device_names())}. A device of your own "
            f"can be planned for by the name of one that is like it."
        )
    return _devices()[name.upper()]


@cache
def _devices() -> dict[str, Device]:
    text = resources.files("ovdiff.planning").joinpath("devices.toml").read_text("utf-8")
    return {name: Device(name=name, **row) for name, row in tomllib.loads(text).items()}
