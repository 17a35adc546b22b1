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
) -> Any:
    """Declare a field with its default, the reason for it, its unit and inclusive bounds.

    Args:
        default: ``dataclasses.MISSING`` for a field that a preset must give.
        reason: where the default comes from, or why it is what it is.
        unit: of the number.
        minimum: smallest value allowed.
        maximum: largest value allowed.
        online: the field matters only when an image is segmented, so it is no part of a prototype set's key.
    """
    metadata = {"reason": reason, "unit": unit, "minimum": minimum, "maximum": maximum, "online": online}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)
