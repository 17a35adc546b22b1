"""Values of JSON files are checked against the types of a dataclass's fields. Never imports torch.

Tested through the cards by tests/ovdiff/bank/test_card.py and tests/ovdiff/bank/test_lesson_card.py.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

hints_of = cache(get_type_hints)
"""The types of a dataclass's fields by name, worked out once: a set's card is read at each question for the set."""


def fits(hint: Any, value: Any) -> bool:
    """Say whether a JSON value is of the type that a field asks for, its items included."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any or origin is UnionType:
        return hint is Any or any(fits(each, value) for each in arguments)
    if origin is tuple:
        return isinstance(value, list) and all(fits(arguments[0], item) for item in value)
    if origin is Mapping:
        return isinstance(value, dict) and all(fits(arguments[1], item) for item in value.values())
    if is_dataclass(hint):
        wanted = hints_of(hint)  # type: ignore[arg-type]  # a class can be hashed
        if not isinstance(value, dict) or value.keys() != {entry.name for entry in fields(hint)}:
            return False
        return all(fits(wanted[name], item) for name, item in value.items())
    return type(value) is hint  # not isinstance: True is an int, and would pass for one


def described(hint: Any) -> str:
    """Say in words what a field asks for, as "a list of str"."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        return f"a list of {described(arguments[0])}"
    if origin is Mapping:
        return f"an object of {described(arguments[1])}"
    if origin is UnionType:
        return " or ".join("null" if each is NoneType else described(each) for each in arguments)
    return "anything" if hint is Any else str(hint.__name__)
