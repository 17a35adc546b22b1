"""The table of all engines, and the functions that make one from a preset.

A preset names its engine (``engine = "ovdiff"``). Another package adds an engine by the entry point group
``ovdiff.engines``. An engine is imported when it is made: this module never imports torch.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ovdiff.bank import Bank
from ovdiff.baselines.preset import CLIP_DENSE, CLIPSEG, GROUPVIT, ClipDensePreset, ClipSegPreset, GroupVitPreset
from ovdiff.engines.contract import EnginePreset, SegmentationEngine
from ovdiff.errors import PresetError
from ovdiff.odise.preset import ENGINE as ODISE
from ovdiff.odise.preset import OdisePreset
from ovdiff.presets import Part, Preset
from ovdiff.presets.files import OVDIFF, read_preset
from ovdiff.presets.mapping import build
from ovdiff.presets.part import Parts
from ovdiff.presets.preset import TABLE_TYPES, mapping_to_preset
from ovdiff.presets.validation import check_bounds

ENGINES = Parts(
    "engine",
    "ovdiff.engines",
    {
        OVDIFF: Part("ovdiff.engine:make_engine", settings=Preset, needs="words, whose support images are drawn once"),
        ODISE: Part("ovdiff.odise.engine:make_engine", settings=OdisePreset, needs="words; a head trained on masks"),
        CLIP_DENSE: Part("ovdiff.baselines.engine:make_engine", settings=ClipDensePreset, needs="words"),
        GROUPVIT: Part(
            "ovdiff.baselines.engine:make_engine", settings=GroupVitPreset, needs="words; was trained on captions"
        ),
        CLIPSEG: Part(
            "ovdiff.baselines.engine:make_engine", settings=ClipSegPreset, needs="words; was trained on masks"
        ),
    },
)
"""All engines, by the ``engine`` field of their presets.

The ``settings`` of each :class:`~ovdiff.presets.Part` are the dataclass of the engine's presets (an
:class:`EnginePreset`). Its ``make`` is called with a preset, the bank and a device's name, and returns a
:class:`SegmentationEngine`.
"""


def load_any_preset(name_or_path: str | Path) -> EnginePreset:
    """Load the preset of any engine, by its name or from a ``.toml`` file.

    Raises:
        PresetError: there is no such preset, file or engine, the file is not TOML, or a field is unknown or impossible.
    """
    return mapping_to_any_preset(read_preset(name_or_path), f"Preset {str(name_or_path)!r}")


def mapping_to_any_preset(mapping: Mapping[str, Any], where: str) -> EnginePreset:
    """Build the preset of any engine from nested mappings; absent fields take their defaults.

    Args:
        mapping: the preset's tables; ``engine`` names the engine, OVDiff if it is absent.
        where: names the source of the mapping in messages.

    Raises:
        PresetError: there is no such engine, or a field is unknown or impossible.
    """
    mapping = {"engine": OVDIFF, **mapping}
    name = mapping["engine"]
    if not isinstance(name, str):
        raise PresetError(f"{where}: engine is {name!r}; expected an engine's name: {', '.join(ENGINES.names())}.")
    if name == OVDIFF:
        return mapping_to_preset(mapping, where)
    settings = ENGINES[name].settings
    if settings is None:
        raise PresetError(f"{where}: the engine {name!r} has no dataclass of its presets; its package must give one.")
    if not {"name", "engine"} <= {entry.name for entry in fields(settings)}:
        raise PresetError(f"{where}: {settings.__name__} of the engine {name!r} needs the fields name and engine.")
    preset: EnginePreset = build(settings, mapping, where, TABLE_TYPES)
    check_bounds(preset)
    return preset


def make_engine(preset: EnginePreset, bank: Bank, device: str) -> SegmentationEngine:
    """Make the engine that a preset names. No weights are loaded yet, but the engine may import torch.

    Args:
        preset: the preset of any engine.
        bank: the store of prepared categories; an engine may store its data elsewhere.
        device: the device's name, such as "cpu" or "cuda".

    Raises:
        PresetError: there is no such engine, a package that it needs is not installed, or it lacks a method that every
            engine has.
        DeviceError: the engine cannot use the device.
    """
    engine = ENGINES[preset.engine].make_one(f"engine {preset.engine!r}", preset, bank, device)
    if not isinstance(engine, SegmentationEngine):
        missing = ", ".join(name for name in _MEMBERS if not hasattr(engine, name))
        raise PresetError(f"The engine {preset.engine!r} is {type(engine).__name__}, which has no {missing}.")
    return engine


_MEMBERS = ("preset", "category_key", "has", "build", "fingerprint", "segment")
