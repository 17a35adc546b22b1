"""The check whether torch can use a device, which is made before any model is loaded."""

import torch

from ovdiff.errors import DeviceError


def require_device(device: str) -> None:
    """Refuse a device that torch cannot use, by putting an empty tensor on it.

    Raises:
        DeviceError: torch does not know the device, or the machine does not have it.
    """
    if not isinstance(device, str) or device.partition(":")[0] == "meta":  # torch's device that holds no numbers
        raise DeviceError(f"Device {device!r} cannot be used: expected a name such as 'cpu' or 'cuda'.")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch raises the first for an unknown name, else the second.
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DeviceError(f"Device {device!r} cannot be used: {reason}. 'cpu' works on every machine.") from error
