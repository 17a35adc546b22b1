"""The types of the commands' options: a text becomes a value, or the error that argparse shows.

Tested by tests/converters/test_cli.py, and for `join` by tests/converters/datasets/test_shards.py.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from converters.label_studio.own_attributes import read_score


def folder(text: str) -> Path:
    """Return a folder that is there."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"expected a folder, got {text!r}")
    return path


def shards(text: str) -> Path:
    """Return shards on this machine."""
    if "://" in text:
        raise argparse.ArgumentTypeError(
            f"expected a folder of this machine, got the address {text!r:.200}: copy its shards and their index into a "
            "folder first, such as with `aws s3 cp --recursive`"
        )
    return Path(text)


def distance(text: str) -> float:
    """Return a distance in pixels."""
    return _number(text, float, 0, "a distance of 0 or more pixels")


def vertices(text: str) -> int:
    """Return how many vertices a polygon may have."""
    return int(_number(text, int, 3, "a whole number of 3 or more"))


def project(text: str) -> int:
    """Return the number of a project."""
    return int(_number(text, int, 1, "the number of a project, as in /projects/3/"))


def score(text: str) -> float:
    """Return a score from 0 to 1."""
    found = read_score(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"expected a score from 0 to 1, such as 0.5, got {text!r:.60}")
    return found


def threshold(text: str) -> tuple[str, float]:
    """Return a label and its score."""
    label, equals, least = text.rpartition("=")
    if not (label and equals):
        raise argparse.ArgumentTypeError(f"expected a label and its score, such as boat=0.5, got {text!r:.60}")
    return label.strip(), score(least)


def workers(text: str) -> int:
    """Return a number of processes."""
    return int(_number(text, int, 1, "a number of processes, 1 or more"))


def count(text: str) -> int:
    """Return how many of something."""
    return int(_number(text, int, 0, "a whole number of 0 or more"))


def _number(text: str, kind: Callable[[str], float], least: float, what: str) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = float("nan")
    if not least <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected {what}, got {text!r}")
    return value
