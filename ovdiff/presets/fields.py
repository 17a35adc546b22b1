"""How a preset's field is declared: its default, its reason, its unit, its bounds."""

from dataclasses import MISSING, field
from typing import Any


def setting(
    default: Any,
    reason: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    online: bool = False,
    later: bool = False,
    changes_no_mask: bool = False,
    shapes_no_encoding: bool = False,
    place: bool = False,
) -> Any:
    """Declare a field with its default, the reason for it, its unit and inclusive bounds.

    Args:
        default: the value of a preset that does not give the field; ``dataclasses.MISSING`` if every preset must.
        reason: where the default comes from, or why it was chosen. Users read it beside the field.
        unit: the unit of the number.
        minimum: the smallest value allowed.
        maximum: the largest value allowed.
        online: whether the field matters only when an image is segmented. It is then no part of a prototype set's
            key.
        later: whether the field was added after the first keys had been made. It is then left out of a key while it
            has its default, so that older prototype sets are still found.
        changes_no_mask: whether the field can change no mask, as a batch size. It is then no part of a fingerprint.
        shapes_no_encoding: whether the field, of a table that encoding an image reads, concerns prototypes or words
            alone. It is then no part of a stored encoding's key, which every other field of these tables is.
        place: whether the field says where files lie. The folders of a local path are then no part of a fingerprint,
            for they may be moved; engines add what identifies the files.
    """
    metadata = {
        "reason": reason,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "online": online,
        "later": later,
        "changes_no_mask": changes_no_mask,
        "shapes_no_encoding": shapes_no_encoding,
        "place": place,
    }
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def added_tables(parts: str) -> Any:
    """Declare the field that holds the tables of other packages' parts, as pairs of a name and a table.

    In TOML these tables stand beside the tables of the schema: ``[extractors.colours]`` is
    ``dict(preset.extractors.added)["colours"]``. The field holds pairs and not a dict, so that presets stay hashable.

    Args:
        parts: the kind of parts that the tables belong to: "extractors", "proposals" or "models". The caller of
            :func:`ovdiff.presets.mapping.build` says how the dataclass of each table is found.
    """
    return field(default=(), metadata={"tables_of": parts})
