"""Presets: which models and hyper-parameters. A preset is data; copy one to a TOML file and change it.

A file may give ``base = "tinyworld"`` and only the fields that differ from it. Never imports torch.
"""

import tomllib
from collections.abc import Mapping
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Any

from ovdiff.errors import PresetError
from ovdiff.presets.mapping import mapping_to_preset, preset_to_mapping, prototype_parameters
from ovdiff.presets.schema import Preset

__all__ = [
    "Preset",
    "given",
    "load_preset",
    "preset_description",
    "preset_names",
    "preset_to_mapping",
    "prototype_parameters",
]

_OF_ONE_SOURCE = ("revision", "licence", "sha256", "variant", "adapter")


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets that come with the package."""
    files = resources.files(__name__).iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def given(preset: Preset, model: str) -> Any:
    """Return a preset's settings of one model, which something of the preset asks for.

    Raises:
        PresetError: the preset does not give it.
    """
    settings = getattr(preset.models, model)
    if settings is None:
        raise PresetError(f"Preset {preset.name!r} has no models.{model}; add a [models.{model}] table with a source.")
    return settings


def load_preset(name_or_path: str | Path) -> Preset:
    """Load a preset by its name, or from a ``.toml`` file.

    Raises:
        PresetError: no such preset or file, not TOML, or a field that is unknown or impossible.
    """
    return mapping_to_preset(_load_mapping(name_or_path, depth=0), f"Preset {str(name_or_path)!r}")


def preset_description(name_or_path: str | Path) -> str:
    """Return what a preset's file says about itself: the comment that it begins with, or ``""``.

    Raises:
        PresetError: no such preset or file.
    """
    comment = takewhile(lambda line: line.startswith("#"), _read(name_or_path).splitlines())
    return "\n".join(line.removeprefix("#").removeprefix(" ").rstrip() for line in comment)


def _load_mapping(name_or_path: str | Path, depth: int) -> dict[str, Any]:
    if depth > 8:
        raise PresetError(f"Preset {str(name_or_path)!r}: 'base' goes round in a circle.")
    text = _read(name_or_path)
    try:
        mapping = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PresetError(f"Preset {str(name_or_path)!r} is not TOML: {error}.") from error
    base = mapping.pop("base", None)
    if base is None:
        return mapping
    if not isinstance(base, str):
        raise PresetError(f"Preset {str(name_or_path)!r}: base is {base!r}; expected a preset's name.")
    return _merge(_load_mapping(base, depth + 1), mapping)


def _read(name_or_path: str | Path) -> str:
    if str(name_or_path) in preset_names():
        return resources.files(__name__).joinpath(f"{name_or_path}.toml").read_text("utf-8")
    path = Path(name_or_path)
    if path.suffix != ".toml":
        names = ", ".join(preset_names())
        raise PresetError(f"No preset {str(name_or_path)!r}. Known: {names}; or give the path of a .toml file.")
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PresetError(f"Preset file {path} cannot be read: {error}.") from error


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    if "source" in changes:  # of other weights, what is known of the base's is not true any more
        merged = {key: value for key, value in base.items() if key not in _OF_ONE_SOURCE}
    for key, value in changes.items():
        under = merged.get(key)
        both_tables = isinstance(under, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(under, value) if both_tables else value  # type: ignore[arg-type]
    return merged
