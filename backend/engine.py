"""The engine of the settings, made from its preset. What an engine can do is said in `ovdiff.engines`."""

from __future__ import annotations

import logging

from backend.errors import SettingsError
from backend.settings import Settings
from ovdiff import engines
from ovdiff.bank import Bank
from ovdiff.engines import EnginePreset, SegmentationEngine
from ovdiff.errors import DeviceError

logger = logging.getLogger(__name__)


def tell_default(preset: str) -> None:
    """Log what the embedded models know, if the settings name no other preset than the default."""
    if preset == Settings().preset:
        logger.warning(
            "The preset is %r, the default: its embedded models know only drawn scenes and 19 words. "
            "For photographs set OVDIFF_PRESET=fast, or give a command --preset fast.",
            preset,
        )


def make_engine(preset: EnginePreset, bank: Bank, device: str) -> SegmentationEngine:
    """Return the engine that a preset names; it loads no weights yet, but may import torch.

    Raises:
        SettingsError: the engine cannot use the device.
        PresetError: there is no such engine, or what it needs is not installed.
    """
    try:
        return engines.make_engine(preset, bank, device)
    except DeviceError as error:
        container = " A container is given a GPU by `docker run --gpus all`." if device.startswith("cuda") else ""
        raise SettingsError(f"{error} Name another device in OVDIFF_DEVICE or by --device.{container}") from error
