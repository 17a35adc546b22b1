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
) -> Any:
    """Declare a field with its default, the reason for it, its unit and inclusive bounds.

    Args:
        default: ``dataclasses.MISSING`` for a field that a preset must give.
        reason: where the default comes from, or why it is what it is.
        unit: of the number.
        minimum: smallest value allowed.
        maximum: largest value allowed.
        online: the field matters only when an image is segmented, so it is no part of a prototype set's key.
        later: the field came after the first keys were made: at its default it is left out of them, so that
            prototype sets of before are still found.
    """
    metadata = {
        "reason": reason,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "online": online,
        "later": later,
    }
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def added_tables(parts: str) -> Any:
    """Declare the field that holds the tables of parts that the schema does not know, as pairs of name and table.

    In TOML these tables stand beside those of the schema: ``[extractors.colours]`` is
    ``dict(preset.extractors.added)["colours"]``. Pairs, and not a dict, so that presets stay hashable.

    Args:
        parts: which parts they are of; :mod:`ovdiff.presets.mapping` is told the dataclass of each.
    """
    return field(default=(), metadata={"tables_of": parts})
