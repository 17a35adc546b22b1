"""tests/gpu, run by pytest in the process that asks; what failed is told with its message."""

import os
from typing import Any

import pytest

from benchmarks.gpu.context import Context, Results

_ONE = "the_device_s_memory_is_known"


class Outcomes:
    """Counts what became of tests, and keeps the messages of those that failed."""

    def __init__(self) -> None:
        """Know of none."""
        self.counts: dict[str, int] = {}
        self.failures: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take a report of pytest's: a test's own, or of a set-up that failed or skipped."""
        if report.when == "call" or report.outcome != "passed":
            self.counts[report.outcome] = self.counts.get(report.outcome, 0) + (report.when != "teardown")
        if report.failed:
            self.failures[report.nodeid] = report.longreprtext[-1500:]

    def pytest_collectreport(self, report: Any) -> None:
        """Take a file that cannot be collected."""
        if report.failed:
            self.failures[report.nodeid] = report.longreprtext[-1500:]


def run_device_tests(context: Context) -> Results:
    """Run the tests of tests/gpu that need a GPU, in this process.

    With ``tiny`` one test alone runs: the others are in the suite.

    Raises:
        RuntimeError: the tests could not be run. Tests that fail are told in the result.
    """
    os.environ.pop("PYTEST_ADDOPTS", None)
    outcomes = Outcomes()
    chosen = ["-k", f"{_ONE} and {context.device}"] if context.tiny else ["-m", "gpu"]
    status = pytest.main(["-q", "-p", "no:cacheprovider", *chosen, "tests/gpu"], plugins=[outcomes])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest ended with {status!s}: {outcomes.failures or 'its messages are in the log'}")
    return {"exit_status": int(status), "outcomes": outcomes.counts, "failures": outcomes.failures}
