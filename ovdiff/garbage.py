"""Importing libraries of models without searches for garbage, which are a sixth of the time that it takes."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_searches_for_garbage() -> Iterator[None]:
    """Make what stays without Python's searches for cycles that nobody refers to; afterwards there are searches again.

    A library of models is some hundred thousand objects, none of them garbage, and each search walks through all.
    """
    were_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if were_on:
            gc.enable()
