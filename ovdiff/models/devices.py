"""Devices: whether torch can use one, and how it is used beyond what a preset says.

A device's name may end with options: ``cuda+compile``, ``cuda+bf16_matching-resident``. A plus switches an option on, a
minus switches it off. Options belong to the device and not to a preset: they change no key, and masks only as another
device changes them, in a handful of pixels. Without options a GPU has those that compute the same in another place
or order, and a CPU has none, so that what a CPU computes is the same to the byte.
"""

import re
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch

from ovdiff.errors import DeviceError
from ovdiff.presets.model_settings import CheckpointSettings, ModelSettings

Settings = TypeVar("Settings", bound=ModelSettings | CheckpointSettings)

_OPTION = re.compile(r"([+-])([a-z0-9_]+)")


@dataclass(frozen=True)
class DeviceOptions:
    """How a device is used.

    Attributes:
        resident: features of an image stay on the device until they are matched, and the cache gets a copy; those of
            support images stay there until they are prototypes, and k-means runs there too.
        device_masks: MaskCut's cuts and the fitting of its masks to edges are computed on the device.
        batched_decode: support images are decoded in batches as large as memory allows, and not one at a time.
        shared_batches: support images of several prompts, and of several categories that are built one after another,
            are drawn in one batch.
        together: windows of several images are encoded in one batch, where a folder, a manifest or a project is.
        device_images: an image to be segmented goes to the device once, as bytes, and is resized and cut there.
        channels_last: the UNet and the VAE keep channels last, as the tensor units want convolutions.
        bf16_matching: cosines with prototypes are products of bfloat16, added up in float32.
        idle_texts: the generator's text encoder is on the device only while support images are drawn.
        compile: parts of the UNet and the VAE are compiled when they first run, which takes a minute or more; torch
            keeps what it compiled in its own cache on disk, so that a later process starts warm.
        graphs: the UNet's steps are recorded as CUDA graphs while support images are drawn; on a CUDA device alone.
    """

    resident: bool = False
    device_masks: bool = False
    batched_decode: bool = False
    shared_batches: bool = False
    together: bool = False
    device_images: bool = False
    channels_last: bool = False
    bf16_matching: bool = False
    idle_texts: bool = False
    compile: bool = False
    graphs: bool = False


PLAIN = DeviceOptions()
"""Nothing switched on: what a CPU has."""

ON_A_GPU = DeviceOptions(
    resident=True,
    device_masks=True,
    batched_decode=True,
    shared_batches=True,
    together=True,
    device_images=True,
    channels_last=True,
)
"""What a GPU has unless its name says otherwise."""

OPTIONS = tuple(field.name for field in fields(DeviceOptions))
"""The names of all options."""


def split_device(device: str) -> tuple[str, DeviceOptions]:
    """Return torch's name of a device, and how it is used.

    Raises:
        DeviceError: an option is unknown, or the device cannot have it.
    """
    name = device_name(device)
    chosen = ON_A_GPU if name.partition(":")[0] == "cuda" else PLAIN
    rest = device[len(name) :]
    asked = _OPTION.findall(rest)
    if "".join(sign + option for sign, option in asked) != rest or not {option for _, option in asked} <= set(OPTIONS):
        raise DeviceError(
            f"Device {device!r} cannot be used: {rest!r} is no list of options. Expected such as '{name}+compile', of "
            f"{', '.join(OPTIONS)}; a minus in place of the plus switches one off."
        )
    options = replace(chosen, **{option: sign == "+" for sign, option in asked})
    if options.graphs and name.partition(":")[0] != "cuda":
        raise DeviceError(
            f"Device {device!r} cannot be used: there are CUDA graphs on a CUDA device alone. Drop '+graphs'."
        )
    return name, options


def device_name(device: str) -> str:
    """Return torch's name of a device, whatever options follow it."""
    return re.split(r"[+-]", device, maxsplit=1)[0]


def shown_alone(device: str) -> str:
    """Return a device's name, options included, in a process that is shown this GPU alone: it has no number there."""
    return re.sub(r":\d+", "", device, count=1)


def require_device(device: str) -> None:
    """Refuse a device that torch cannot use, by putting an empty tensor on it.

    Raises:
        DeviceError: torch does not know the device, or the machine does not have it; or an option is unknown.
    """
    if not isinstance(device, str) or device.partition(":")[0] == "meta":  # torch's device that holds no numbers
        raise DeviceError(f"Device {device!r} cannot be used: expected a name such as 'cpu' or 'cuda'.")
    name, _ = split_device(device)
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # torch raises the first for an unknown name, else the second.
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DeviceError(f"Device {device!r} cannot be used: {reason}. 'cpu' works on every machine.") from error


def computable(settings: Settings, device: torch.device) -> Settings:
    """Return a model's settings as a device computes them: on a CPU float32 stands in the place of float16.

    Few processors multiply in float16. Where that is emulated, DINOv2 took 3.6 times the seconds that it takes in
    float32, and CLIP 6.3 times (docs/one-cpu.md).
    """
    if device.type != "cpu":
        return settings
    slow = (name for name in ("dtype", "vae_dtype") if getattr(settings, name, "") == "float16")
    instead: dict[str, Any] = dict.fromkeys(slow, "float32")
    return replace(settings, **instead)
