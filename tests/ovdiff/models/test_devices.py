import pytest

from ovdiff.errors import DeviceError
from ovdiff.models.devices import require_device


def test_the_processor_can_be_used() -> None:
    require_device("cpu")


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    with pytest.raises(DeviceError, match=f"Device '{device}' cannot be used: .*'cpu' works on every machine"):
        require_device(device)


@pytest.mark.parametrize("device", [None, 3, "meta", "meta:0"])
def test_a_device_that_can_hold_no_model_is_refused(device: str) -> None:
    with pytest.raises(DeviceError, match=r"cannot be used: expected a name such as 'cpu' or 'cuda'"):
        require_device(device)
