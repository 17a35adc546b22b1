"""What the values and colours of label PNGs mean: lists of labels, ours and those of datasets that are about.

    labels.json                     {"labels": [{"value": 1, "name": "cat", "colour": "#800000", "kind": "thing"}, ...]}
    voc, ade20k, cityscapes         the tables of `files.class_lists`, by name; they say where the list is from
    a text file                     value <tab> name <tab> #rrggbb <tab> kind      as those tables
                                    7: road                                        a number and a name
                                    road:128,64,128::                              CVAT's labelmap.txt, numbered from 0
                                    road                                           a name, numbered from 0

A kind is "thing", "stuff", "background" (there is no region) or "void" (pixels that do not count). In a text file
without kinds the name background is the background, and void, ignore and ignored are void.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from converters.encodings.colours import RGB
from converters.errors import SemanticPNGError
from converters.files.class_lists import class_list_path
from converters.files.json_values import Json, whole_number
from converters.records import DatasetCategory, Kind

LABELS_NAME = "labels.json"
NAMED_LISTS = ("voc", "ade20k", "cityscapes", "cityscapes_train_ids")
LARGEST_VALUE = (1 << 16) - 1
"""The largest value of a pixel: a label PNG has 8 or 16 bits."""

Role = Literal["category", "background", "void"]

_MAX_BYTES = 1 << 28
_MAX_TEXT_BYTES = 1 << 20
_HEX = re.compile("#[0-9a-fA-F]{6}")
_NUMBERED = re.compile(r"([0-9]{1,5})\s*[:=,\s]\s*(\S.*)")
_CVAT = re.compile(r"([^:]+):([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}):.*")
_KINDS: tuple[Kind, ...] = ("thing", "stuff")
_ROLES: dict[str, Role] = {"background": "background", "void": "void", "ignore": "void", "ignored": "void"}


@dataclass(frozen=True)
class PixelLabel:
    """What one value of a pixel stands for; `number` is the category's id in another dataset, -1 if unknown."""

    value: int
    name: str
    colour: RGB | None = None
    kind: Kind | None = None
    role: Role = "category"
    number: int = -1


@dataclass(frozen=True)
class PixelLabels:
    """A list of labels; each value comes once, a name may come several times.

    `source` says what the list is called in messages.
    """

    labels: tuple[PixelLabel, ...]
    source: str

    def values_of(self, role: Role) -> frozenset[int]:
        """Return the values of a role."""
        return frozenset(label.value for label in self.labels if label.role == role)

    @property
    def names(self) -> Mapping[int, str]:
        """The name of each category's value."""
        return {label.value: label.name for label in self.labels if label.role == "category"}

    @property
    def by_colour(self) -> Mapping[int, int]:
        """The value of each colour, written as 65536 R + 256 G + B; the first label that has a colour counts."""
        found: dict[int, int] = {}
        for label in self.labels:
            if label.colour is not None:
                red, green, blue = label.colour
                found.setdefault(red << 16 | green << 8 | blue, label.value)
        return found

    @property
    def categories(self) -> tuple[DatasetCategory, ...]:
        """The categories by name, with their own ids, or with values as ids if an id is missing or comes twice."""
        first: dict[str, PixelLabel] = {}
        for label in self.labels:
            if label.role == "category":
                first.setdefault(label.name, label)
        numbers = [label.number for label in first.values()]
        usable = min(numbers, default=0) >= 0 and len(set(numbers)) == len(numbers)
        return tuple(
            DatasetCategory(label.number if usable else label.value, label.name, label.kind) for label in first.values()
        )


def read_labels_json(path: Path) -> tuple[PixelLabels, Json]:
    """Read labels.json.

    Returns:
        The labels, and the whole content of the file.

    Raises:
        SemanticPNGError: the file is damaged or contradicts itself.
        OSError: the file cannot be opened.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise SemanticPNGError(f"{path}: expected at most {_MAX_BYTES} bytes, got {path.stat().st_size}")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise SemanticPNGError(f"{path}: expected JSON, which cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise SemanticPNGError(f"{path}: expected an object with 'labels', got {type(content).__name__}")
    labels = [_from_json(item, path) for item in objects_under("labels", content, path)]
    return _checked(labels, path, LABELS_NAME), content


def read_label_list(chosen: str) -> PixelLabels:
    """Read a list of labels: one of `NAMED_LISTS`, or a text file.

    Raises:
        SemanticPNGError: the file is no list of labels.
        OSError: the file cannot be opened.
    """
    path = class_list_path(chosen) if chosen in NAMED_LISTS else Path(chosen)
    if path.stat().st_size > _MAX_TEXT_BYTES:
        raise SemanticPNGError(f"{path}: expected at most {_MAX_TEXT_BYTES} bytes, got {path.stat().st_size}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SemanticPNGError(f"{path}: expected text in UTF-8, got other bytes: {error}") from error
    wanted = [line for line in lines if line.strip() and not line.startswith("#")]
    return _checked([_from_line(line, place, path) for place, line in enumerate(wanted)], path, path.name)


def objects_under(key: str, content: Json, path: Path) -> list[Json]:
    """Return the list of objects under a key of labels.json.

    Raises:
        SemanticPNGError: there is none.
    """
    items = content.get(key)
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise SemanticPNGError(f"{path}: expected a list of objects under {key!r}")
    return items


def _checked(labels: Sequence[PixelLabel], path: Path, source: str) -> PixelLabels:
    values = [label.value for label in labels]
    if len(set(values)) < len(values):
        raise SemanticPNGError(f"{path}: expected labels with values that differ, got {values!r:.200}")
    if not any(label.role == "category" for label in labels):
        raise SemanticPNGError(f"{path}: expected at least one label that is a category, got {len(labels)} labels")
    return PixelLabels(tuple(labels), source)


def _from_json(item: Json, path: Path) -> PixelLabel:
    value, name, number, kind = whole_number(item.get("value")), item.get("name"), item.get("id", -1), item.get("kind")
    if value is None or not 0 <= value <= LARGEST_VALUE:
        got = item.get("value")
        raise SemanticPNGError(f"{path}: expected labels with a value from 0 to {LARGEST_VALUE}, got {got!r:.40}")
    if not isinstance(name, str) or not name.strip():
        raise SemanticPNGError(f"{path}: expected a name for the value {value}, got {name!r:.40}")
    if whole_number(number) is None:
        raise SemanticPNGError(f"{path}: expected a whole number as id of {name!r}, got {number!r:.40}")
    role: Role = "background" if value == 0 else "void" if kind == "void" else "category"
    return PixelLabel(value, name, _colour(item.get("colour")), _kind(kind), role, number)


def _from_line(line: str, place: int, path: Path) -> PixelLabel:
    """Return the label of a line in any of the forms; `place` counts the lines from 0."""
    if "\t" in line:
        value, name, colour, kind, *_ = (*(word.strip() for word in line.split("\t")), "", "", "")
        if not re.fullmatch("[0-9]{1,5}", value) or int(value) > LARGEST_VALUE or not name:
            raise SemanticPNGError(f"{path}: expected value, name, #rrggbb and kind between tabs, got {line!r:.80}")
        if colour and not _HEX.fullmatch(colour):
            raise SemanticPNGError(f"{path}: expected a colour as #rrggbb for {name!r}, got {colour!r:.40}")
        return PixelLabel(int(value), name, _colour(colour), _kind(kind), _role(name, kind))
    if found := _CVAT.fullmatch(line.strip()):
        name, red, green, blue = found[1].strip(), *(min(int(found[n]), 255) for n in (2, 3, 4))
        return PixelLabel(place, name, (red, green, blue), role=_role(name))
    if (found := _NUMBERED.fullmatch(line.strip())) and int(found[1]) <= LARGEST_VALUE:
        return PixelLabel(int(found[1]), found[2], role=_role(found[2]))
    return PixelLabel(place, line.strip(), role=_role(line.strip()))


def _role(name: str, kind: str = "") -> Role:
    """Return the role that a kind says, or else the name."""
    return "category" if kind in _KINDS else _ROLES.get(kind or name.strip("_").lower(), "category")


def _kind(kind: Any) -> Kind | None:
    return next((known for known in _KINDS if known == kind), None)


def _colour(value: Any) -> RGB | None:
    """Return a colour that is written as "#rrggbb" or [r, g, b], None for anything else."""
    if isinstance(value, str) and _HEX.fullmatch(value):
        return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)
    parts: Iterable[Any] = value if isinstance(value, list) else ()
    numbers = [part for part in parts if whole_number(part) is not None and 0 <= part <= 255]
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else None
