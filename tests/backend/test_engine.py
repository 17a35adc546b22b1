from pathlib import Path

import pytest

from backend.engine import make_engine, tell_default
from backend.errors import SettingsError
from backend.settings import Settings
from ovdiff.bank import Bank
from ovdiff.presets import load_preset


@pytest.mark.slow
@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there_is_named(device: str, tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=f"Device '{device}' cannot be used: .* OVDIFF_DEVICE or by --device"
    ) as told:
        make_engine(load_preset("tinyworld"), Bank(tmp_path), device)
    assert ("--gpus all" in str(told.value)) == device.startswith("cuda")


def test_the_default_preset_says_what_it_knows_and_another_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    tell_default("fast")
    assert not caplog.messages
    tell_default(Settings().preset)
    assert "'tinyworld', the default: its embedded models know only drawn scenes and 19 words" in caplog.messages[0]
