"""Tests that share the servers run in one process, which starts them once."""

import pytest

from tests import speed

pytest.importorskip("xdist")

_WRITE_THE_PROCESS = """
import os, pytest
@pytest.mark.parametrize("number", range(5))
def test_it(number):
    with open({record!r}, "a") as file:
        file.write(str(os.getpid()) + " ")
"""


def test_files_of_the_servers_share_a_process(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(speed.TESTS.parent))
    for name in ("end_to_end/test_a", "end_to_end/test_b", "test_c", "test_d"):
        file = pytester.path / "tests" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_WRITE_THE_PROCESS.format(record=str(pytester.path / name[-1])), "utf-8")
    run = pytester.runpytest_subprocess("-p", "tests.processes", "-n", "2", "--no-loadscope-reorder")
    run.assert_outcomes(passed=20)
    processes = {name: set((pytester.path / name).read_text("utf-8").split()) for name in "abcd"}
    assert processes["a"] == processes["b"]
    assert all(len(found) == 1 for found in processes.values()), "each file is run by one process"
    assert len(set.union(*processes.values())) == 2
