"""A slow test that nobody marked is noticed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import speed
from tests.imported_libraries import imported_libraries


@pytest.fixture
def quick(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder of tests that runs with `--quick`, where the one library of models is called `models_stand_in`."""
    monkeypatch.setattr(speed, "MODEL_LIBRARIES", ("models_stand_in",))
    pytester.makeini("[pytest]\nmarkers = slow\naddopts = --quick -p tests.speed -p no:xdist")
    pytester.makepyfile(models_stand_in="")
    pytester.syspathinsert()
    return pytester


def _outcomes(quick: pytest.Pytester, test: str) -> tuple[dict[str, int], str]:
    quick.makepyfile(test_it=test)
    result = quick.runpytest_inprocess()
    return result.parseoutcomes(), result.stdout.str()


def test_a_quick_test_passes(quick: pytest.Pytester) -> None:
    assert _outcomes(quick, "def test_it(): pass")[0] == {"passed": 1}


def test_a_file_that_imports_a_library_of_models_is_left_out(quick: pytest.Pytester) -> None:
    assert _outcomes(quick, "import models_stand_in\ndef test_it(): pass")[0] == {}


def test_a_file_that_imports_one_in_a_way_that_is_not_seen_fails(quick: pytest.Pytester) -> None:
    outcomes, text = _outcomes(quick, "import importlib\nimportlib.import_module('models_stand_in')")
    assert outcomes == {"errors": 1}
    assert "imports models_stand_in: mark it `slow`, or name its file in SLOW of tests/speed.py." in text


def test_a_test_that_imports_one_late_fails(quick: pytest.Pytester) -> None:
    outcomes, text = _outcomes(quick, "def test_it(): import models_stand_in")
    assert outcomes == {"passed": 1, "errors": 1}
    assert "imports models_stand_in" in text


def test_a_test_that_takes_long_fails(quick: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "MOST_SECONDS", 0.1)
    outcomes, text = _outcomes(quick, "def test_it(): sum(range(20_000_000))")
    assert outcomes == {"passed": 1, "errors": 1}
    assert "s of processor time: mark it `slow`" in text


def test_a_marked_test_is_left_out(quick: pytest.Pytester) -> None:
    slow = "import pytest\n@pytest.mark.slow\ndef test_it(): import models_stand_in\ndef test_other(): pass"
    assert _outcomes(quick, slow)[0] == {"passed": 1, "deselected": 1}


@pytest.mark.parametrize("name", speed.SLOW)
def test_what_is_left_out_exists(name: str) -> None:
    assert (speed.TESTS / name).exists()


@pytest.mark.slow
def test_no_file_of_the_quick_run_imports_a_library_of_models() -> None:
    quick = [sys.executable, "-m", "pytest", "--quick", "--collect-only", "-q"]
    run = subprocess.run(quick, cwd=speed.TESTS.parent, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:]


def test_what_make_starts_keeps_compiled_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them collecting the tests takes three times as long, in each of the processes."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    rule = "shown: ; @echo shown $${PYTHONDONTWRITEBYTECODE:-kept}"
    run = ["make", "--no-print-directory", f"--eval={rule}", "shown"]
    answer = subprocess.run(run, cwd=speed.TESTS.parent, capture_output=True, text=True, check=True)
    assert answer.stdout == "shown kept\n"


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("import torch.nn", True),
        ("from torch import nn", True),
        ("from ovdiff.engine import Engine", True),
        ("try:\n    import torch\nexcept ImportError: pass", True),
        ("def late():\n    import torch", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", False),
        ("import ovdiff", False),
    ],
)
def test_what_a_file_imports_is_found_without_importing_it(tmp_path: Path, source: str, seen: bool) -> None:
    (tmp_path / "file.py").write_text(source, "utf-8")
    assert ("torch" in imported_libraries(tmp_path / "file.py")) == seen
