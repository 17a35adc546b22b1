"""Which tests `make quick` leaves out, and how one that it should leave out is noticed.

A test is slow when its file imports a library of models or is in SLOW, when it asks for one of SLOW_FIXTURES, or
when it is marked `slow`. A quick test that imports such a library late, or takes more than a few seconds of processor
time, fails.
"""

import os
import sys
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings

from tests.imported_libraries import imported_libraries

Report = Generator[None, pytest.CollectReport, pytest.CollectReport]

TESTS = Path(__file__).parent

SLOW = (
    "architectures",
    "backend/command/test_on_tinyworld.py",
    "converters/metrics/test_panoptic_quality.py",
    "converters/test_corpus.py",
    "end_to_end",
    "examples",
    "faults",
    "gpu",
    "ovdiff/engines",
    "ovdiff/evaluation/test_average_precision.py",
    "ovdiff/evaluation/test_sums.py",
    "ovdiff/presets/test_needs.py",
    "ovdiff/test_halves.py",
    "test_architecture.py",
)
"""Folders and files under `tests` that are slow though no file of theirs imports a library of models at its top."""

SLOW_FIXTURES = frozenset({"ray_cluster", "ray_head", "session", "weights_folder"})
"""Fixtures that build models or start servers: whatever test asks for one is slow."""

MODEL_LIBRARIES = ("diffusers", "transformers", "open_clip", "torchvision")
MOST_SECONDS = 15.0
"""Of processor time, children included: a busy machine makes a test slower, but hardly costs it more of that."""


@cache
def is_slow(path: Path) -> bool:
    """Say whether a file or folder is slow: it is in SLOW, or a file of tests that imports a library of models."""
    if any(path == TESTS / name or (TESTS / name) in path.parents for name in SLOW):
        return True
    return path.match("test_*.py") and not imported_libraries(path).isdisjoint(MODEL_LIBRARIES)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out what loads models or starts servers")


def pytest_configure(config: pytest.Config) -> None:
    """Give an example as long as it takes, for a busy machine; in the quick run try fewer of them.

    A test that asks for a number of examples keeps it.
    """
    settings.register_profile("patient", deadline=None)
    settings.register_profile("quick", deadline=None, max_examples=20)
    settings.load_profile("quick" if config.getoption("--quick") else "patient")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.getoption("--quick") and is_slow(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if is_slow(item.path) or not SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    if config.getoption("--quick"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Report:
    """Refuse a file that brings in a library of models when it is imported."""
    before = _loaded_libraries()
    report = yield
    brought = _loaded_libraries() - before
    if brought and collector.config.getoption("--quick"):
        report.outcome, report.longrepr = "failed", f"{collector.nodeid} imports {brought.pop()}: {_ADVICE}"
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[_START] = _Start(_processor_seconds(), _loaded_libraries())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a quick test that was slow."""
    start = item.stash[_START]
    seconds = _processor_seconds() - start.seconds  # before servers of other tests end, and are counted
    yield
    if item.get_closest_marker("slow"):
        return
    if seconds > MOST_SECONDS:
        pytest.fail(f"took {seconds:.0f} s of processor time: {_ADVICE}")
    if (brought := _loaded_libraries() - start.libraries) and item.config.getoption("--quick"):
        pytest.fail(f"imports {brought.pop()}: {_ADVICE}")


class _Start(NamedTuple):
    """What was so before a test."""

    seconds: float
    libraries: set[str]


_START = pytest.StashKey[_Start]()
_ADVICE = "mark it `slow`, or name its file in SLOW of tests/speed.py."


def _processor_seconds() -> float:
    """Return what this process and its ended children have used so far."""
    return sum(os.times()[:4])


def _loaded_libraries() -> set[str]:
    return {name for name in MODEL_LIBRARIES if name in sys.modules}
