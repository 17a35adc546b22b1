"""A curation as TOML: one table an entry, a line a fact, so that a version control shows what changed. No torch.

Reading is strict: an unknown key or a value of a wrong type is an error, because a misspelt line would change a mask in
silence.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from ovdiff.curation.curation import ADDRESS, Curation
from ovdiff.errors import CurationError, PresetError
from ovdiff.presets.mapping import build
from ovdiff.presets.text import toml_value

_HEAD = (
    "# What people changed of a category's support set: `ovdiff prototypes curation` shows it. It may be edited: what\n"
    "# is deleted here is undone. Images and places that are named by 64 digits are in the bank's folder curated."
)
_ADVICE = "Correct the file; or delete it, which undoes the whole curation."


@dataclass(frozen=True)
class _File(Curation):
    """A curation with the version of its file."""

    format: int = 1


def curation_to_toml(curation: Curation) -> str:
    """Return a curation as TOML; :func:`toml_to_curation` reads it back."""
    return "\n".join([_HEAD, "", "format = 1", *_lines(curation)]) + "\n"


def toml_to_curation(text: str, where: str) -> Curation:
    """Return the curation that a TOML text holds.

    Args:
        text: the TOML text.
        where: the file, for messages.

    Raises:
        CurationError: the text is no TOML, has an unknown key or an impossible value; the message names it.
    """
    try:
        read = build(_File, tomllib.loads(text), f"The curation {where}", {})
    except tomllib.TOMLDecodeError as error:
        raise CurationError(f"The curation {where} is no TOML: {error}. {_ADVICE}") from error
    except PresetError as error:
        raise CurationError(f"{error} {_ADVICE}") from error
    if fault := _fault(read):
        raise CurationError(f"The curation {where}: {fault}. {_ADVICE}")
    return Curation(**{field.name: getattr(read, field.name) for field in fields(Curation)})


def _lines(curation: Curation) -> Iterator[str]:
    values = {field.name: getattr(curation, field.name) for field in fields(Curation)}
    tables = {name: values.pop(name) for name in ("rejected", "exemplars", "bans")}
    yield from (f"{name} = {_toml(value)}" for name, value in values.items() if name != "draw" or not value)
    for name, entries in tables.items():
        for entry in entries:
            yield from ("", f"[[{name}]]")
            given = {field.name: getattr(entry, field.name) for field in fields(entry)}
            yield from (f"{key} = {_toml(value)}" for key, value in given.items() if value != "")


def _toml(value: Any) -> str:
    if isinstance(value, str):  # A file's name may hold bytes that are no text.
        value = value.encode("utf-8", "replace").decode()
    return toml_value(value)


def _fault(read: _File) -> str:
    """Return what is impossible in a file; "" if all is well."""
    if read.format != 1:
        return f"format is {read.format}, and this version reads 1; a newer version of ovdiff may have written it"
    numbers = [item.number for item in read.rejected]
    if wrong := [number for number in numbers if number < 0]:
        return f"a number of rejected is missing or {wrong[0]}; expected the number of an image, 0 or more"
    if len(set(numbers)) < len(numbers):
        return f"rejected names image {next(each for each in numbers if numbers.count(each) > 1)} twice"
    addresses = [("pictures", item.pictures) for item in read.exemplars] + [("places", ban.places) for ban in read.bans]
    wrong_ones = [(name, text) for name, text in addresses if not ADDRESS.fullmatch(text)]
    return f"{wrong_ones[0][0]} is {wrong_ones[0][1]!r:.80}; expected 64 hexadecimal digits" if wrong_ones else ""
