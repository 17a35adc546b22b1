"""What importing costs: no model library before an engine is made; each rule is shown to be able to fail."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
from PIL import Image

from benchmarks.import_graph import PACKAGES, module_files
from tests.boundaries.conftest import ROOT

MODEL_LIBRARIES = {"torch", "torchvision", "diffusers", "transformers", "sklearn", "scipy"}
_CLAIM = re.compile(r"never\s+imports\s+torch", re.IGNORECASE)


@pytest.mark.parametrize(
    "module",
    [
        "ovdiff",
        "ovdiff.presets",
        "ovdiff.bank",
        "ovdiff.bank.recipe",
        "ovdiff.vocabulary",
        "ovdiff.segmentation",
        "converters",
        "backend.settings",
    ],
)
def test_importing_is_cheap(module: str) -> None:
    assert loaded_by(f"import {module}") & MODEL_LIBRARIES == set()


def test_an_engine_is_imported_without_the_libraries_of_its_models() -> None:
    """They take most of the seconds in which a command starts, and `fast` segments without diffusers."""
    loaded = loaded_by("import ovdiff.engine, ovdiff.extractors.dinov2, ovdiff.extractors.clip")
    assert "torch" in loaded
    assert loaded & {"diffusers", "transformers", "torchvision", "sklearn"} == set()


def first_with_torch(modules: list[str]) -> str:
    """Import modules one after another in a fresh interpreter, and return the first after which torch is loaded."""
    imports = "\n".join(f"import {module}\nif 'torch' in sys.modules: sys.exit('{module}')" for module in modules)
    program = [sys.executable, "-c", f"import sys\n{imports}"]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False).stderr.strip()


def claiming(root: Path, package: str) -> list[str]:
    """Return the modules whose docstring says that they never import torch."""
    return [
        module
        for module, path in module_files(root, package)
        if _CLAIM.search(ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "")
    ]


def test_modules_that_say_so_never_import_torch() -> None:
    modules = [module for package in PACKAGES for module in claiming(ROOT, package)]
    assert first_with_torch(modules) == ""


def test_the_converters_bring_none_of_the_others() -> None:
    assert loaded_by("import converters, converters.cli") & {"torch", "ovdiff", "backend"} == set()


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


def test_the_converters_commands_need_five_packages(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for task in json.loads((_GOLDEN / "api_tasks.json").read_text("utf-8")):
        Image.new("RGB", (64, 48)).save(images / PurePosixPath(task["data"]["image"]).name)
    program = _EVERY_COMMAND.format(golden=str(_GOLDEN), folder=str(tmp_path), images=str(images))
    # multiprocessing gives the program itself a second name
    needed = loaded_by("import multiprocessing, numpy, PIL.Image, pycocotools.mask, defusedxml.ElementTree, yaml")
    assert loaded_by(program) - needed - sys.stdlib_module_names == {"converters"}


# The rules above would pass on a wrong way to look; these show that they can fail.


def test_meta_a_loaded_library_is_seen() -> None:
    assert loaded_by("import ovdiff.presets, scipy") & MODEL_LIBRARIES == {"scipy"}


def test_meta_a_claim_is_found_wherever_its_line_breaks(tmp_path: Path) -> None:
    (tmp_path / "drawn").mkdir()
    for name, text in (
        ("claim", '"""Words. Never imports torch."""'),
        ("broken", '"""This never\nimports torch, so it is quick."""'),
        ("other", '"""Imports torch late."""'),
    ):
        (tmp_path / f"drawn/{name}.py").write_text(text, "utf-8")
    assert claiming(tmp_path, "drawn") == ["drawn.broken", "drawn.claim"]


def test_meta_modules_claim_it() -> None:
    assert {"ovdiff.engines", "ovdiff.extractors", "ovdiff.presets.needs"} <= set(claiming(ROOT, "ovdiff"))


def test_meta_the_first_module_with_torch_is_named() -> None:
    assert first_with_torch(["ovdiff.errors", "ovdiff.models.keys", "ovdiff.models.pamr"]) == "ovdiff.models.keys"
