"""What the distribution alone can do, and that each optional library is named with the extra that brings it."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest

from benchmarks.import_graph import PACKAGES
from benchmarks.rooms import package_of
from ovdiff.errors import MissingExtraError, OVDiffError
from ovdiff.extras import LIBRARIES, naming_the_extra
from tests.boundaries.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NEEDED_BY_THE_BASE = {"numpy", "PIL", "pycocotools", "defusedxml", "yaml"}
# On no package index, or brought by what is: the module that imports it says how it is had.
BROUGHT_BY_THE_USER = {"detectron2", "label_studio_ml", "aiohttp", "azure"}
# In no environment of the tests: there are no wheels.
COMPILED_WHERE_WANTED = {"pydensecrf": {"pydensecrf2"}}
GOLDEN = ROOT / "tests/converters/golden"

_WITHOUT_EXTRAS = """
import sys
for library in {libraries!r}:
    sys.modules[library] = None  # as if it were not installed
"""


def _without_extras(program: str) -> "subprocess.CompletedProcess[str]":
    """Run a program where no library of an extra can be imported."""
    libraries = sorted(library for group in LIBRARIES.values() for library in group)
    program = _WITHOUT_EXTRAS.format(libraries=libraries) + program
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)


def _command(*words: str) -> "subprocess.CompletedProcess[str]":
    return _without_extras(f"from backend.command.cli import main\nsys.exit(main({list(words)!r}))")


def _distribution(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower()


def test_each_optional_library_is_in_the_extra_that_the_error_names() -> None:
    declared = PROJECT["optional-dependencies"]
    installed = {module: {_distribution(name) for name in names} for module, names in packages_distributions().items()}
    installed |= COMPILED_WHERE_WANTED
    for extra, libraries in LIBRARIES.items():
        wanted = {_distribution(requirement) for requirement in declared[extra]} - {"ovdiff"}
        assert {name for library in libraries for name in installed[library]} == wanted


def test_whatever_the_packages_import_is_in_the_base_or_in_an_extra(house: grimp.ImportGraph) -> None:
    known = NEEDED_BY_THE_BASE | {library for group in LIBRARIES.values() for library in group} | set(PACKAGES)
    known |= BROUGHT_BY_THE_USER | set(sys.stdlib_module_names)
    imported = {
        package_of(other) for module in house.modules for other in house.find_modules_directly_imported_by(module)
    }
    assert imported - known == set()
    assert {_distribution(requirement) for requirement in PROJECT["dependencies"]} == {
        "numpy",
        "pillow",
        "pycocotools",
        "defusedxml",
        "pyyaml",
    }


def test_the_error_says_what_to_install() -> None:
    with (
        pytest.raises(MissingExtraError, match=r"^A test needs peft, which is not .*: pip install '.\[lora\]'$"),
        naming_the_extra("A test"),
    ):
        raise ModuleNotFoundError("No module named 'peft.x'", name="peft.x")
    assert issubclass(MissingExtraError, OVDiffError) and issubclass(MissingExtraError, ImportError)


def test_another_missing_module_is_not_disguised() -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named 'colour'"), naming_the_extra("A test"):
        raise ModuleNotFoundError("No module named 'colour'", name="colour")


@pytest.mark.parametrize(
    ("statement", "purpose"),
    [
        ("ovdiff.Engine", "ovdiff.Engine"),
        ("ovdiff.segment(numpy.zeros((8, 8), 'uint8'), ['boat'], preset='tinyworld')", "engine 'ovdiff'"),
    ],
)
def test_the_library_alone_says_what_to_install(statement: str, purpose: str) -> None:
    program = (
        f"import numpy, ovdiff\ntry: {statement}\nexcept ovdiff.MissingExtraError as error: print(error, error.extra)"
    )
    run = _without_extras(program)
    assert run.stdout == (
        f"{purpose} needs torch, which is not installed. In a checkout of ovdiff: pip install '.[cpu]' "
        f"(for an NVIDIA GPU: '.[cuda]') cpu\n"
    )


@pytest.mark.parametrize(
    "words",
    [
        ("convert", "coco", f"{GOLDEN}/api_tasks.json", "--label-config", f"{GOLDEN}/label_config.xml", "--out"),
        ("presets", "list"),
        ("presets", "show", "paper"),
        ("settings",),
    ],
    ids=" ".join,
)
def test_commands_that_need_no_extra_work(words: tuple[str, ...], tmp_path: Path) -> None:
    run = _command(*words, *([str(tmp_path / "coco.json")] if words[-1] == "--out" else []))
    assert run.returncode in (0, 3), run.stderr
    assert run.stdout and "Traceback" not in run.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("serve",),
        ("segment", f"{ROOT}/docs/demo.png", "--categories", "boat"),
        ("prototypes", "build", "boat"),
    ],
    ids=lambda words: words[0],
)
def test_commands_that_need_an_extra_say_so_in_one_line(words: tuple[str, ...]) -> None:
    run = _command(*words)
    assert run.returncode == 2
    pattern = r"ovdiff: .* needs \w+, which is not installed. In a checkout of ovdiff: pip install '.\[cpu\]' .*\n"
    assert re.fullmatch(pattern, run.stderr), run.stderr
