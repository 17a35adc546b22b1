"""Whether torch can use a device: said before any model is loaded."""

import torch

from ovdiff.errors import DeviceError


def require_device(device: str) -> None:
    """Put nothing on a device, and see whether that works.

    Raises:
        DeviceError: torch does not know the device, or the machine does not have it.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # an unknown name; a device that is not there
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DeviceError(f"Device {device!r} cannot be used: {reason}. 'cpu' works on every machine.") from error
