"""Presets are read from files here: by name, by path, and on top of another preset with ``base = "..."``.

A base that is a file, and a source of weights that begins with a dot, are looked for in the folder of the file that
names them, and then in the current folder; so a folder that holds a preset and its weights can be moved as a whole.
"""

import tomllib
from collections.abc import Mapping
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Any

from ovdiff.errors import PresetError
from ovdiff.presets.preset import Preset, mapping_to_preset
from ovdiff.presets.word_lists import with_word_lists

_PACKAGE = "ovdiff.presets"
_BASELINES = "baselines"
OVDIFF = "ovdiff"
"""The engine of a preset that names none."""

_MOST_BASES = 8
_OF_ONE_SOURCE = ("revision", "licence", "sha256", "variant", "adapter")


def preset_names(engine: str | None = None) -> tuple[str, ...]:
    """Return the names of the presets that come with the package, the baselines last: all, or those of one engine."""
    names = (*_names(), *baseline_names())
    return tuple(name for name in names if engine is None or read_preset(name).get("engine", OVDIFF) == engine)


def baseline_names() -> tuple[str, ...]:
    """Return the names of the presets that come with the package for comparison alone."""
    return _names(_BASELINES)


def _names(folder: str = "") -> tuple[str, ...]:
    files = resources.files(_PACKAGE).joinpath(folder).iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def load_preset(name_or_path: str | Path) -> Preset:
    """Load a preset of OVDiff by its name, or from a ``.toml`` file.

    Raises:
        PresetError: there is no such preset or file, the file is not TOML, it is a preset of another engine, or a
            field is unknown or impossible.
    """
    mapping, where = read_preset(name_or_path), f"Preset {str(name_or_path)!r}"
    if (engine := mapping.get("engine", OVDIFF)) != OVDIFF:
        raise PresetError(f"{where} is for the engine {engine!r}; load it with ovdiff.engines.load_any_preset.")
    return mapping_to_preset(mapping, where)


def read_preset(name_or_path: str | Path) -> dict[str, Any]:
    """Read the tables of any engine's preset, with the tables of its base. The meaning of the values is not checked.

    Raises:
        PresetError: there is no such preset or file, the file is not TOML, or a list of words cannot be read.
    """
    return _read_mapping(name_or_path, depth=0)


def preset_description(name_or_path: str | Path) -> str:
    """Return the comment at the beginning of a preset's file, which describes the preset; ``""`` if there is none.

    Raises:
        PresetError: there is no such preset or file.
    """
    comment = takewhile(lambda line: line.startswith("#"), _read(name_or_path).splitlines())
    return "\n".join(line.removeprefix("#").removeprefix(" ").rstrip() for line in comment)


def preset_files(name_or_path: str | Path) -> tuple[Path, ...]:
    """Return the files that a preset is read from: its own and those of its bases; none of them comes with the package.

    Raises:
        PresetError: one of them cannot be read, or they go round in a circle.
    """
    found: list[Path] = []
    base: str | Path | None = name_or_path
    while base is not None and not _is_packaged(base):
        _require_no_circle(name_or_path, len(found))
        found.append(Path(base))
        base = _base(_tables(base), base)
    return tuple(found)


def _read_mapping(name_or_path: str | Path, depth: int) -> dict[str, Any]:
    _require_no_circle(name_or_path, depth)
    folder = Path(name_or_path).parent
    mapping = with_word_lists(_tables(name_or_path), folder)
    if "models" in mapping:
        mapping["models"] = _with_places(mapping["models"], folder)
    base = _base(mapping, name_or_path)
    mapping.pop("base", None)
    return mapping if base is None else _merge(_read_mapping(base, depth + 1), mapping)


def _require_no_circle(name_or_path: str | Path, depth: int) -> None:
    if depth > _MOST_BASES:
        raise PresetError(f"Preset {str(name_or_path)!r}: 'base' goes round in a circle.")


def _tables(name_or_path: str | Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_read(name_or_path))
    except tomllib.TOMLDecodeError as error:
        raise PresetError(f"Preset {str(name_or_path)!r} is not TOML: {error}.") from error


def _base(mapping: Mapping[str, Any], name_or_path: str | Path) -> str | None:
    """Return the name or the path of a preset's base; ``None`` if it has none."""
    base = mapping.get("base")
    if base is None or (isinstance(base, str) and _is_packaged(base)):
        return base
    if not isinstance(base, str):
        raise PresetError(f"Preset {str(name_or_path)!r}: base is {base!r}; expected a preset's name.")
    return _place(base, Path(name_or_path).parent)


def _with_places(models: Any, folder: Path) -> Any:
    """Return the table of models, or one under it, with each source that begins with a dot as it lies in a folder."""
    if not isinstance(models, Mapping):
        return models
    found = {name: _with_places(value, folder) for name, value in models.items()}
    source = found.get("source")
    return {**found, "source": _place(source, folder)} if isinstance(source, str) and source.startswith(".") else found


def _place(path: str, folder: Path) -> str:
    """Return a path from a folder if something is there, else as it is; one that is relative begins with a dot."""
    inside = folder / path
    try:
        if not inside.exists():
            return path
    except OSError:  # such as a name that is too long, which is refused where it is read
        return path
    return str(inside) if inside.is_absolute() else f"./{inside}"


def _is_packaged(name_or_path: str | Path) -> bool:
    return any(str(name_or_path) in _names(folder) for folder in ("", _BASELINES))


def _read(name_or_path: str | Path) -> str:
    for folder in ("", _BASELINES):
        if str(name_or_path) in _names(folder):
            return resources.files(_PACKAGE).joinpath(folder, f"{name_or_path}.toml").read_text("utf-8")
    path = Path(name_or_path)
    if path.suffix != ".toml":
        names = f"{', '.join(_names())}; for comparison {', '.join(baseline_names())}"
        raise PresetError(f"No preset {str(name_or_path)!r}. Known: {names}; or give the path of a .toml file.")
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PresetError(f"Preset file {path} cannot be read: {error}.") from error


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    if "source" in changes:  # Other weights: the base's revision, licence and so on are not true of them.
        merged = {key: value for key, value in base.items() if key not in _OF_ONE_SOURCE}
    for key, value in changes.items():
        under = merged.get(key)
        both_tables = isinstance(under, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(under, value) if both_tables else value  # type: ignore[arg-type]
    return merged
