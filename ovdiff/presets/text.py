"""A preset as TOML with a comment at every field: to read, to save, to change, and to pass back.

The inverse of :func:`ovdiff.presets.load_preset`: what comes out loads as an equal preset. Written here and not by a
package, because those that write TOML write no comments. Never imports torch.
"""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any, get_args

from ovdiff.presets.schema import ExtractorName, Preset

_LINE_CHARACTERS = 110
_SHORT_CHARACTERS = 50
_LEGEND = "# In comments, P is the paper, R its released code, and A.1 and so on are sections of the specification."


def preset_to_toml(preset: Preset) -> str:
    """Return every field of a preset as TOML, each with its unit and reason; tables that nothing reads say so."""
    return "\n".join([_LEGEND, "", *_table(preset, "", _unread_tables(preset))]) + "\n"


def _unread_tables(preset: Preset) -> frozenset[str]:
    """Return the tables of extractors and proposal sources that the preset does not use."""
    extractors = {f"extractors.{name}" for name in set(get_args(ExtractorName)) - set(preset.extractors.use)}
    sources = {"cutler", "maskcut", "detectron2"} - {preset.proposals.source}
    return frozenset(extractors | {f"proposals.{name}" for name in sources})


def _table(settings: Any, path: str, unread: frozenset[str]) -> Iterator[str]:
    """Yield a table's own fields, then its tables: TOML counts every field to the header above it."""
    tables: list[str] = []
    for entry in dataclasses.fields(settings):
        value, name = getattr(settings, entry.name), f"{path}{entry.name}"
        if value is None:
            yield f"# [{name}] is not given: {entry.metadata['reason']}."
        elif dataclasses.is_dataclass(value):
            note = ["# Not used by this preset."] if name in unread else []
            tables += ["", f"[{name}] # {_about(entry, value)}", *note, *_table(value, f"{name}.", unread)]
        else:
            yield from _field(entry, value)
    yield from tables


def _about(entry: dataclasses.Field[Any], table: Any) -> str:
    text: str = entry.metadata.get("reason") or (type(table).__doc__ or "").partition("\n")[0].rstrip(".")
    return f"{text[:1].upper()}{text[1:]}.".replace("``", "'")


def _field(entry: dataclasses.Field[Any], value: Any) -> Iterator[str]:
    """Yield ``key = value # comment``, with the comment above where the line would be long."""
    line, comment = f"{entry.name} = {_value(value)}", _comment(entry, value)
    if not comment:
        yield line
    elif len(line) + len(comment) + 3 <= _LINE_CHARACTERS and "\n" not in line:
        yield f"{line} # {comment}"
    else:
        yield f"# {comment}"
        yield line


def _comment(entry: dataclasses.Field[Any], value: Any) -> str:
    """Return unit and reason; the reason is the default's, so that is named where the value is another."""
    unit, reason = entry.metadata.get("unit", ""), entry.metadata.get("reason", "")
    if entry.default not in (value, dataclasses.MISSING, "", ()):
        default = _value(entry.default)
        reason = f"default {default if len(default) < _SHORT_CHARACTERS else 'another'}: {reason}"
    return "; ".join(text for text in (unit, reason) if text)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)  # TOML reads Python's numbers, "1e-05" and "inf" included
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # the one escape that JSON leaves out
    items = [_value(item) for item in value]
    line = f"[{', '.join(items)}]"
    return line if len(line) <= _LINE_CHARACTERS else "[\n" + "".join(f"    {item},\n" for item in items) + "]"
