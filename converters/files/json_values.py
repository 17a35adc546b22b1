"""Types of JSON objects, and checks of values in JSON that others wrote.

Each check returns the value if it is of the wanted kind, and None for anything else. In Python a JSON true is also the
number 1; here it is never a number.
"""

import math
from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]
"""A JSON object that was read from a file or a request; it is never changed."""

JsonObject = dict[str, Any]
"""A JSON object that is made here, to be written."""


def finite_number(value: Any) -> float | None:
    """Return a finite JSON number as float, and None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON's whole numbers have no limit
        return None
    return number if math.isfinite(number) else None


def whole_number(value: Any) -> int | None:
    """Return a whole JSON number, and None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def identifier(value: Any) -> int | str | None:
    """Return a value that can be an id (a whole number or a text), and None for anything else."""
    return value if isinstance(value, str) else whole_number(value)
