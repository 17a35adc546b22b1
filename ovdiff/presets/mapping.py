"""Presets to and from plain mappings, as TOML and JSON hold them: strict, so that a typo is an error."""

import dataclasses
import difflib
import hashlib
import json
import types
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from ovdiff.errors import PresetError
from ovdiff.presets.schema import Preset

T = TypeVar("T")


def preset_to_mapping(preset: Preset) -> dict[str, Any]:
    """Return a preset's values as nested dicts of JSON types (tuples become lists)."""
    values: dict[str, Any] = _plain(dataclasses.asdict(preset))
    return values


def mapping_to_preset(mapping: Mapping[str, Any], where: str) -> Preset:
    """Build a preset from nested mappings; absent fields take the reference's defaults.

    Raises:
        PresetError: an unknown or missing field, a wrong type, an impossible value. ``where`` names the
            source in the message.
    """
    return _build(Preset, mapping, where, "")


def prototype_parameters(preset: Preset) -> dict[str, Any]:
    """Return the values that shape stored prototypes: all fields that are not marked *online*."""
    return _offline(preset)


def without(mapping: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return a copy of nested tables that lacks every field of these names, however deep."""
    return {
        key: without(value, names) if isinstance(value, Mapping) else value
        for key, value in mapping.items()
        if key not in names
    }


def digest(values: Any) -> str:
    """Return the hex SHA-256 of a JSON value, independent of key order."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _offline(settings: Any) -> dict[str, Any]:
    kept = {}
    for entry in dataclasses.fields(settings):
        if entry.name == "name" or entry.metadata.get("online"):
            continue
        value = getattr(settings, entry.name)
        kept[entry.name] = _offline(value) if dataclasses.is_dataclass(value) else _plain(value)
    return kept


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _build(cls: type[T], mapping: Any, where: str, path: str) -> T:
    if not isinstance(mapping, Mapping):
        raise PresetError(f"{where}: {path or 'the preset'} must be a table, got {mapping!r}.")
    entries = {entry.name: entry for entry in dataclasses.fields(cls)}  # type: ignore[arg-type]
    _refuse_unknown(mapping, entries, where, path)
    missing = [name for name, entry in entries.items() if _required(entry) and name not in mapping]
    if missing:
        raise PresetError(f"{where}: missing field {_join(path, missing[0])!r}. A preset must give it.")
    hints = get_type_hints(cls)
    return cls(**{key: _convert(hints[key], value, where, _join(path, key)) for key, value in mapping.items()})


def _refuse_unknown(mapping: Mapping[str, Any], known: Iterable[str], where: str, path: str) -> None:
    for key in mapping:
        if key not in known:
            near = difflib.get_close_matches(key, list(known), n=1)
            hint = f"Did you mean {_join(path, near[0])!r}?" if near else f"Known: {', '.join(known)}."
            raise PresetError(f"{where}: unknown field {_join(path, key)!r}. {hint}")


def _required(entry: dataclasses.Field[Any]) -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING


def _convert(hint: Any, value: Any, where: str, path: str) -> Any:
    if get_origin(hint) is types.UnionType:  # of a table and None, the only unions of the schema
        return None if value is None else _convert(get_args(hint)[0], value, where, path)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where, path)  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        return _convert_tuple(get_args(hint), value, where, path)
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        raise PresetError(f"{where}: {path} is {value!r}; expected one of {', '.join(map(repr, get_args(hint)))}.")
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:  # not isinstance: True is an int, and would pass for one
        raise PresetError(f"{where}: {path} is {value!r}; expected {_type_name(hint)}.")
    return value


def _convert_tuple(hints: tuple[Any, ...], value: Any, where: str, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise PresetError(f"{where}: {path} is {value!r}; expected a list.")
    if len(hints) == 2 and hints[1] is Ellipsis:
        return tuple(_convert(hints[0], item, where, f"{path}[{i}]") for i, item in enumerate(value))
    if len(value) != len(hints):
        raise PresetError(f"{where}: {path} is {value!r}; expected {len(hints)} values.")
    return tuple(
        _convert(hint, item, where, f"{path}[{i}]") for i, (hint, item) in enumerate(zip(hints, value, strict=True))
    )


def _type_name(hint: Any) -> str:
    names = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}
    return names.get(hint, str(hint)) if not isinstance(hint, types.GenericAlias) else str(hint)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
