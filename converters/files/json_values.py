"""JSON objects as types, and values from JSON that others wrote: the value asked for, or None for anything else.

In Python a JSON true is also the number 1: here it never is.
"""

import math
from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]
"""A JSON object that was read, mostly from others: only looked at, never changed."""

JsonObject = dict[str, Any]
"""A JSON object that is being made."""


def finite_number(value: Any) -> float | None:
    """Return a finite JSON number as float, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON's whole numbers have no limit
        return None
    return number if math.isfinite(number) else None


def whole_number(value: Any) -> int | None:
    """Return a whole JSON number, None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def identifier(value: Any) -> int | str | None:
    """Return what can be the number or name of something, None for anything else."""
    return value if isinstance(value, str) else whole_number(value)
