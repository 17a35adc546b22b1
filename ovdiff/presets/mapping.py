"""Dataclasses of settings become plain mappings here, and mappings become dataclasses, as TOML and JSON hold them.

Reading is strict, so that a misspelt field is an error. This module works with any documented dataclass and knows none
by name.
"""

import dataclasses
import difflib
import hashlib
import json
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import PurePath
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from ovdiff.errors import PresetError

T = TypeVar("T")

TableTypes = Mapping[str, Callable[[str], type[Any] | None]]
"""How the dataclass of another package's table is found, for each kind of parts that ``added_tables`` is given.

The function is called with the table's name. It returns ``None`` if no part has a table of that name."""

_TABLES_OF = "tables_of"
_hints_of = cache(get_type_hints)


class Entry(NamedTuple):
    """One field of a table, or a table of another package's part. For the latter ``declared`` is ``None``."""

    name: str
    value: Any
    declared: dataclasses.Field[Any] | None


def entries(table: Any) -> Iterator[Entry]:
    """Yield a dataclass's fields in their order; the tables of other packages' parts stand beside them, as in TOML."""
    for declared in dataclasses.fields(table):
        value = getattr(table, declared.name)
        if _TABLES_OF in declared.metadata:
            yield from (Entry(name, added, None) for name, added in value)
        else:
            yield Entry(declared.name, value, declared)


def to_mapping(table: Any) -> dict[str, Any]:
    """Return a dataclass's values as nested dicts of JSON types (tuples become lists)."""
    return {name: _plain(value) for name, value, _ in entries(table)}


def offline_values(table: Any) -> dict[str, Any]:
    """Return the values that shape stored prototypes, as JSON types.

    Fields that are marked *online* are left out, and fields that are marked *later* and have their default.
    """
    return _values(table, "online")


def mask_values(table: Any) -> dict[str, Any]:
    """Return the values that can change a mask, as JSON types.

    Fields that are marked *changes_no_mask* are left out, and fields that are marked *later* and have their default.
    Of a local path that is marked *place* the last name alone is kept.
    """
    return _values(table, "changes_no_mask", value_of=_without_folders)


def encoding_values(table: Any) -> dict[str, Any]:
    """Return the values that shape the encoding of an image, of a table that encoding reads, as JSON types.

    Fields that are marked *changes_no_mask* or *shapes_no_encoding* are left out, and fields that are marked *later*
    and have their default. A field that is added to such a table counts unless it is marked.
    """
    return _values(table, "changes_no_mask", "shapes_no_encoding")


def build(cls: type[T], mapping: Any, where: str, table_types: TableTypes) -> T:
    """Build a dataclass from nested mappings; absent fields take their defaults.

    Args:
        cls: the dataclass.
        mapping: the values of its fields.
        where: names the source of the mapping in messages.
        table_types: how the dataclasses of other packages' tables are found.

    Raises:
        PresetError: a field is unknown, missing, of a wrong type, or not one of the values that it may have.
    """
    return _Reader(where, table_types).table(cls, mapping, "")


def digest(values: Any) -> str:
    """Return the hex SHA-256 of a JSON value, independent of key order."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Reads one mapping. A path such as "extractors.clip" says where in the mapping a value stands."""

    where: str
    table_types: TableTypes

    def table(self, cls: type[T], mapping: Any, path: str) -> T:
        """Read a table into a dataclass."""
        if not isinstance(mapping, Mapping):
            raise PresetError(f"{self.where}: {path or 'the preset'} must be a table, got {mapping!r}.")
        declared = {entry.name: entry for entry in dataclasses.fields(cls) if _TABLES_OF not in entry.metadata}  # type: ignore[arg-type]
        added = self._added(cls, {key: value for key, value in mapping.items() if key not in declared}, path)
        names = {name for tables in added.values() for name, _ in tables}
        known = {key: value for key, value in mapping.items() if key not in names}
        self._refuse_unknown(known, declared, path)
        missing = [name for name, entry in declared.items() if _required(entry) and name not in mapping]
        if missing:
            raise PresetError(f"{self.where}: missing field {_join(path, missing[0])!r}. A preset must give it.")
        hints = _hints_of(cls)  # type: ignore[arg-type]  # a class can be hashed
        return cls(**{key: self._value(hints[key], value, _join(path, key)) for key, value in known.items()}, **added)

    def _added(self, cls: type[Any], mapping: Mapping[str, Any], path: str) -> dict[str, tuple[tuple[str, Any], ...]]:
        """Return the tables of other packages' parts, by the field that holds them. Other keys are not read here."""
        found = {}
        for holder in dataclasses.fields(cls):
            if _TABLES_OF in holder.metadata:
                type_of = self.table_types[holder.metadata[_TABLES_OF]]
                typed = {key: kind for key in mapping if (kind := type_of(key)) is not None}
                tables = ((key, self.table(kind, mapping[key], _join(path, key))) for key, kind in typed.items())
                found[holder.name] = tuple(tables)
        return found

    def _refuse_unknown(self, mapping: Mapping[str, Any], known: Iterable[str], path: str) -> None:
        for key in mapping:
            if key not in known:
                near = difflib.get_close_matches(key, list(known), n=1)
                hint = f"Did you mean {_join(path, near[0])!r}?" if near else f"Known: {', '.join(known)}."
                raise PresetError(f"{self.where}: unknown field {_join(path, key)!r}. {hint}")

    def _value(self, hint: Any, value: Any, path: str) -> Any:
        if get_origin(hint) is types.UnionType:  # The only unions of the schema are those of a table and None.
            return None if value is None else self._value(get_args(hint)[0], value, path)
        if dataclasses.is_dataclass(hint):
            return self.table(hint, value, path)  # type: ignore[arg-type]
        if get_origin(hint) is tuple:
            return self._tuple(get_args(hint), value, path)
        if get_origin(hint) is Literal:
            if value in get_args(hint):
                return value
            expected = ", ".join(map(repr, get_args(hint)))
            raise PresetError(f"{self.where}: {path} is {value!r}; expected one of {expected}.")
        if hint is float and type(value) is int:
            return float(value)
        if type(value) is not hint:  # isinstance would let True pass for an integer.
            raise PresetError(f"{self.where}: {path} is {value!r}; expected {_type_name(hint)}.")
        return value

    def _tuple(self, hints: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise PresetError(f"{self.where}: {path} is {value!r}; expected a list.")
        if len(hints) == 2 and hints[1] is Ellipsis:
            hints = (hints[0],) * len(value)
        if len(value) != len(hints):
            raise PresetError(f"{self.where}: {path} is {value!r}; expected {len(hints)} values.")
        pairs = enumerate(zip(hints, value, strict=True))
        return tuple(self._value(hint, item, f"{path}[{i}]") for i, (hint, item) in pairs)


def _values(table: Any, *left_out: str, value_of: Callable[[Entry], Any] = lambda entry: entry.value) -> dict[str, Any]:
    return {
        name: _values(value, *left_out, value_of=value_of)
        if dataclasses.is_dataclass(value)
        else _plain(value_of(Entry(name, value, declared)))
        for name, value, declared in entries(table)
        if declared is None or not (any(map(declared.metadata.get, left_out)) or _is_later_default(declared, value))
    }


def _without_folders(entry: Entry) -> Any:
    is_place = entry.declared is not None and entry.declared.metadata.get("place")
    return f"./{PurePath(entry.value).name}" if is_place and entry.value.startswith((".", "/")) else entry.value


def _is_later_default(declared: dataclasses.Field[Any], value: Any) -> bool:
    return bool(declared.metadata.get("later")) and value == _default(declared)


def _default(declared: dataclasses.Field[Any]) -> Any:
    if declared.default_factory is not dataclasses.MISSING:
        return declared.default_factory()
    return declared.default


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_mapping(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _required(entry: dataclasses.Field[Any]) -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING


def _type_name(hint: Any) -> str:
    names = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}
    return names.get(hint, str(hint)) if not isinstance(hint, types.GenericAlias) else str(hint)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
