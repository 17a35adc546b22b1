"""The tree of errors: one base, each error once in the picture, and what it says."""

import inspect
import re

import pytest

from converters import errors


def error_classes() -> dict[str, type[errors.ConverterError]]:
    return {
        name: found
        for name, found in inspect.getmembers(errors, inspect.isclass)
        if issubclass(found, errors.ConverterError) and found is not errors.ConverterError
    }


def test_the_picture_shows_every_error_and_no_other() -> None:
    drawn = re.findall(r"[├└]── (\w+) +\S", errors.__doc__ or "")
    assert sorted(drawn) == sorted(error_classes()) and len(drawn) == len(set(drawn)) > 10


def test_one_base_catches_them_all() -> None:
    for name, found in error_classes().items():
        assert found.__bases__ == (errors.ConverterError,), name
        with pytest.raises(errors.ConverterError, match="what was wrong"):
            raise found("what was wrong")
    assert issubclass(errors.ConverterError, ValueError)


def test_every_error_says_when_it_is_raised() -> None:
    for name, found in error_classes().items():
        assert (found.__doc__ or "").endswith("."), name
