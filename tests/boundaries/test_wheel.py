"""The wheel holds the three packages' files, weights and presets and pages included, and nothing else."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

from benchmarks.import_graph import PACKAGES
from tests.boundaries.conftest import ROOT
from tests.conftest import Skipper


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, skip_for_want_of: Skipper) -> ZipFile:
    if find_spec("hatchling") is None:
        skip_for_want_of("There is no hatchling, which builds the wheel: `make setup` installs it.")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (path,) = folder.glob("ovdiff-*.whl")
    return ZipFile(path)


def _files_in_git() -> set[str]:
    """Return the packages' files that are in git, or would be after `git add`."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *PACKAGES]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return {name for name in names if (ROOT / name).is_file()}


def test_it_holds_what_is_in_git(wheel: ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == _files_in_git()


@pytest.mark.parametrize(
    "name",
    [
        "ovdiff/presets/paper.toml",
        "converters/report/report.css",
        "backend/py.typed",
        "backend/pages/templates/page/overview.html",
        "backend/pages/static/page.css",
    ],
)
def test_files_that_are_no_modules_are_read_from_it(wheel: ZipFile, name: str) -> None:
    assert wheel.read(name) == Path(ROOT, name).read_bytes()


def test_each_package_says_that_it_is_typed(wheel: ZipFile) -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(wheel.namelist())


def test_it_brings_the_command_and_the_licence(wheel: ZipFile) -> None:
    (scripts,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "ovdiff = backend.command.cli:main" in wheel.read(scripts).decode()
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
