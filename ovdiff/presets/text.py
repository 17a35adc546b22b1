"""A preset is written as TOML here, with a comment at every field, for a person to read, save, change and pass back.

This is the inverse of :func:`ovdiff.presets.load_preset`: the text loads as an equal preset. The TOML is not written by
a package, because packages that write TOML write no comments. Never imports torch.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

from ovdiff.presets.mapping import Entry, entries
from ovdiff.presets.needs import unread_tables
from ovdiff.presets.schema import PresetTables

_LINE_CHARACTERS = 110
_SHORT_CHARACTERS = 50
_LONG_LIST = 30
"""A list of more items has several of them in a line."""
_LEGEND = (
    "# A comment gives a field's unit and the reason for its default; it names the default where the value differs.\n"
    "# P is the paper (arXiv 2306.09316 v1), R its released code. A.1 and so on number the sections of the working\n"
    "# specification from which this was built; it is not in the repository."
)


def preset_to_toml(preset: Any) -> str:
    """Return every field of a preset as TOML, with its unit and reason. A comment marks each table that nothing reads.

    Args:
        preset: the preset of any engine: a dataclass whose fields :func:`ovdiff.presets.fields.setting` declares.
    """
    unread = unread_tables(preset) if isinstance(preset, PresetTables) else frozenset[str]()
    return "\n".join([_LEGEND, "", *_table(preset, "", unread)]) + "\n"


def _table(settings: Any, path: str, unread: frozenset[str]) -> Iterator[str]:
    """Yield a table's own fields before its tables, because in TOML a field belongs to the header above it."""
    tables: list[str] = []
    for entry in entries(settings):
        name = f"{path}{entry.name}"
        if entry.value is None:
            reason = _metadata(entry).get("reason", "")
            yield f"# [{name}] is not given{f'. It {reason}' if reason else ''}."
        elif dataclasses.is_dataclass(entry.value):
            note = ["# Not used by this preset."] if name in unread else []
            tables += ["", f"[{name}] # {_about(entry)}", *note, *_table(entry.value, f"{name}.", unread)]
        else:
            yield from _field(entry)
    yield from tables


def _metadata(entry: Entry) -> Mapping[str, Any]:
    return {} if entry.declared is None else entry.declared.metadata


def _about(entry: Entry) -> str:
    written = (type(entry.value).__doc__ or "").partition("\n")[0].rstrip(".")
    if written.startswith(f"{type(entry.value).__name__}("):  # dataclasses write one where the author wrote none
        written = f"settings of {entry.name!r}"
    text: str = _metadata(entry).get("reason") or written
    return f"{text[:1].upper()}{text[1:]}.".replace("``", "'")


def _field(entry: Entry) -> Iterator[str]:
    """Yield ``key = value # comment``. If that line would be too long, the comment stands above the value instead."""
    line, comment = f"{entry.name} = {toml_value(entry.value)}", _comment(entry)
    if not comment:
        yield line
    elif len(line) + len(comment) + 3 <= _LINE_CHARACTERS and "\n" not in line:
        yield f"{line} # {comment}"
    else:
        yield from (f"# {part}" for part in wrap(comment, _LINE_CHARACTERS))
        yield line


def _comment(entry: Entry) -> str:
    """Return the unit and the reason. The reason explains the default, so the default is named if the value differs."""
    unit, reason = _metadata(entry).get("unit", ""), _metadata(entry).get("reason", "")
    default = dataclasses.MISSING if entry.declared is None else entry.declared.default
    if default not in (entry.value, dataclasses.MISSING, "", ()):
        shown = toml_value(default)
        named = f"the default is {shown}" if len(shown) < _SHORT_CHARACTERS else "not the default"
        reason = f"{named}: {reason}"
    return "; ".join(text for text in (unit, reason) if text)


def toml_value(value: Any) -> str:
    """Return a truth value, a number, a text or a list of them as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)  # TOML reads Python's numbers, "1e-05" and "inf" included
    if isinstance(value, str):
        # TOML asks for one escape that JSON leaves out: the delete character.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    items = [toml_value(item) for item in value]
    line = f"[{', '.join(items)}]"
    if len(line) <= _LINE_CHARACTERS:
        return line
    rows = _rows(items) if len(items) > _LONG_LIST else items
    return "[\n" + "".join(f"    {row},\n" for row in rows) + "]"


def _rows(items: list[str]) -> list[str]:
    """Return the items side by side in lines of a bounded length; an item that is longer has a line of its own."""
    rows: list[str] = []
    for item in items:
        if rows and len(rows[-1]) + len(item) + 2 <= _LINE_CHARACTERS:
            rows[-1] += f", {item}"
        else:
            rows.append(item)
    return rows
