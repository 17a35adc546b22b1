"""Who may import whom, and what importing costs; each rule is shown to be able to fail."""

import ast
import json
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]

FORBIDDEN = {
    "ovdiff": {"backend", "label_studio_sdk", "label_studio_ml", "flask"},
    "converters": {"backend", "ovdiff", "torch", "diffusers", "transformers", "torchvision"},
}
ENVIRONMENT_READER = "backend/settings.py"


def imported_packages(source: str) -> set[str]:
    """Return the top-level packages that a module imports anywhere, in functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module" and node.args:
            found |= {str(arg.value).split(".")[0] for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return found


def reads_environment(source: str) -> bool:
    """Say whether a module mentions os.environ or os.getenv, by whatever import."""
    names = {"environ", "environb", "getenv"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in names:
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "os" and names & {alias.name for alias in node.names}:
            return True
    return False


def modules(package: str) -> Iterator[Path]:
    yield from sorted((ROOT / package).rglob("*.py"))


def offenders(package: str, forbidden: Collection[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"
        for path in modules(package)
        if (wrong := imported_packages(path.read_text("utf-8")) & set(forbidden))
    ]


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_packages_stay_within_their_bounds(package: str) -> None:
    assert offenders(package, FORBIDDEN[package]) == []


def test_only_settings_reads_the_environment() -> None:
    readers = [
        str(path.relative_to(ROOT))
        for package in ("ovdiff", "converters", "backend")
        for path in modules(package)
        if reads_environment(path.read_text("utf-8"))
    ]
    assert readers in ([ENVIRONMENT_READER], [])


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import ovdiff", ("torch", "diffusers", "transformers", "sklearn", "scipy")),
        ("import ovdiff.presets, ovdiff.bank.files, ovdiff.bank.recipe, ovdiff.segmentation", ("torch", "sklearn")),
        ("import converters", ("torch", "ovdiff", "backend")),
    ],
)
def test_importing_is_cheap(statement: str, unwanted: tuple[str, ...]) -> None:
    assert loaded_by(statement) & set(unwanted) == set()


def loaded_by(statement: str) -> set[str]:
    """Return the top-level packages in a fresh interpreter after a statement."""
    program = f"{statement}\nimport sys\nprint(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


_GOLDEN = ROOT / "tests/converters/golden"
_EVERY_COMMAND = """
from converters.cli import main
golden, folder = {golden!r}, {folder!r}
statuses = []
def run(words, *paths):
    statuses.append(main([*words.split(), *paths]))
of = ("--label-config", golden + "/label_config.xml")
for kind in ("coco", "panoptic", "semantic-png"):
    run("convert " + kind, golden + "/api_tasks.json", *of, "--out", folder + "/" + kind)
    run("import " + kind, folder + "/" + kind, "--out", folder + "/tasks.json", "--label-config-out", folder + "/c.xml")
run("convert yolo", golden + "/api_tasks.json", *of, "--out", folder + "/yolo", "--images", {images!r})
run("import yolo", folder + "/yolo", "--out", folder + "/tasks.json")
run("validate", golden + "/api_tasks.json", *of, "--images", {images!r})
of = ("--label-config", golden + "/corrections_config.xml")
run("evaluate-corrections", golden + "/corrections_api.json", *of, "--out", folder + "/report", "--images", {images!r})
assert set(statuses) <= {{0, 3}}, statuses
"""


def test_the_converters_commands_need_four_packages(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for task in json.loads((_GOLDEN / "api_tasks.json").read_text("utf-8")):
        Image.new("RGB", (64, 48)).save(images / PurePosixPath(task["data"]["image"]).name)
    program = _EVERY_COMMAND.format(golden=str(_GOLDEN), folder=str(tmp_path), images=str(images))
    needed = loaded_by("import numpy, PIL.Image, pycocotools.mask, defusedxml.ElementTree")
    assert loaded_by(program) - needed - sys.stdlib_module_names == {"converters"}


# The rules above would pass on an empty project; these show that they can fail.


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "import torch.nn as nn",
        "from torch.nn import functional",
        "def late():\n    import torch",
        "if TYPE_CHECKING:\n    from torch import Tensor",
        "import importlib\nimportlib.import_module('torch.nn')",
    ],
)
def test_meta_a_forbidden_import_is_seen(source: str) -> None:
    assert "torch" in imported_packages(source)


def test_meta_relative_and_similar_names_are_not_confused() -> None:
    assert "torch" not in imported_packages("import torchlight\nfrom . import torch\nfrom .torch import x")


@pytest.mark.parametrize(
    "source", ["import os\nos.environ['A']", "import os\nos.getenv('A')", "from os import environ"]
)
def test_meta_reading_the_environment_is_seen(source: str) -> None:
    assert reads_environment(source)
    assert not reads_environment("import os\nos.replace('a', 'b')")


def test_meta_the_scan_finds_the_packages_files() -> None:
    assert {"ovdiff/engine.py", "ovdiff/extractors/clip.py"} <= {str(p.relative_to(ROOT)) for p in modules("ovdiff")}
    assert offenders("ovdiff", {"torch"})  # ovdiff does use torch: the scan would see a forbidden import


def test_meta_a_loaded_package_is_seen() -> None:
    assert "numpy" in loaded_by("import numpy")
