"""What each package may import from outside itself, and who reads the environment; each rule can be seen to fail."""

import ast
import sys
from pathlib import Path

import grimp
import pytest

from benchmarks.import_graph import PACKAGES, hidden_imports, module_files, own_package, unseen_files
from benchmarks.rooms import package_of, room_of
from tests.boundaries.conftest import ROOT, Draw, Plant

FORBIDDEN = {
    "ovdiff": {"backend", "label_studio_sdk", "label_studio_ml", "flask"},
    "converters": {"backend", "ovdiff"},
}
# The converters are usable alone: this and the standard library is all that they need.
CONVERTERS_NEED = {"numpy", "PIL", "pycocotools", "defusedxml", "yaml"}
# Nobody needs it who writes no Parquet file: it is imported there, and how to install it is said where it is missing.
CONVERTERS_MAY_ASK_FOR = {"pyarrow"}
# Files that appear whole or not at all are written in one place, and pictures turned upright; the method does both.
# What masks are worth is measured in one place, too; so are run lengths made, and so do worker processes end.
OVDIFF_SEES_OF_CONVERTERS = {"encodings", "files", "metrics", "workers"}
READS_ENVIRONMENT = {"backend.settings.environment"}
# Modules that import what a caller or an installed package names, so that no string of theirs can say what it is; and
# one that imports other packages' loggers by a table of its own.
OPEN_DOORS = {"ovdiff.models.loaded", "ovdiff.presets.part"}


def outward_imports(graph: grimp.ImportGraph, package: str) -> list[tuple[str, str]]:
    """Return who in a package imports what from outside it: modules of ours, and packages of others."""
    own = [module for module in graph.modules if package_of(module) == package]
    outward = ((module, other) for module in own for other in graph.find_modules_directly_imported_by(module))
    return sorted((module, other) for module, other in outward if package_of(other) != package)


def forbidden_imports(graph: grimp.ImportGraph, package: str) -> list[str]:
    return [
        f"{module} imports {other}"
        for module, other in outward_imports(graph, package)
        if package_of(other) in FORBIDDEN[package]
    ]


def more_than_converters_need(graph: grimp.ImportGraph) -> list[str]:
    allowed = CONVERTERS_NEED | CONVERTERS_MAY_ASK_FOR | set(sys.stdlib_module_names)
    outward = outward_imports(graph, "converters")
    return [f"{module} imports {other}" for module, other in outward if package_of(other) not in allowed]


def converters_in_ovdiff(graph: grimp.ImportGraph) -> list[str]:
    return [
        f"{module} imports {other}"
        for module, other in outward_imports(graph, "ovdiff")
        if package_of(other) == "converters" and room_of(other) not in OVDIFF_SEES_OF_CONVERTERS
    ]


def reads_environment(source: str) -> bool:
    """Say whether a module mentions os.environ or os.getenv, by whatever import. (A graph of imports cannot.)"""
    names = {"environ", "environb", "getenv"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in names:
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "os" and names & {alias.name for alias in node.names}:
            return True
    return False


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_packages_stay_within_their_bounds(house: grimp.ImportGraph, package: str) -> None:
    assert forbidden_imports(house, package) == []


def test_the_converters_import_four_packages(house: grimp.ImportGraph) -> None:
    assert more_than_converters_need(house) == []


def test_ovdiff_sees_of_the_converters_only_some_rooms(house: grimp.ImportGraph) -> None:
    assert converters_in_ovdiff(house) == []


def test_only_settings_reads_the_environment() -> None:
    files = [item for package in PACKAGES for item in module_files(ROOT, package)]
    assert {module for module, path in files if reads_environment(path.read_text("utf-8"))} == READS_ENVIRONMENT


def test_every_file_is_in_the_graph(house: grimp.ImportGraph) -> None:
    assert unseen_files(house, ROOT) == [], "a folder needs its __init__.py, or its imports go unseen"


def test_an_import_by_string_can_be_followed() -> None:
    files = [item for package in PACKAGES for item in module_files(ROOT, package)]
    modules = {module for module, _ in files}
    hidden = {
        module: lines
        for module, path in files
        if (lines := hidden_imports(path.read_text("utf-8"), own_package(module, path), modules))
    }
    assert set(hidden) == OPEN_DOORS, f"imports by string on lines {hidden}: name the module in a string of that file"


# The rules above would pass on an empty project; these show that they can fail.


@pytest.mark.parametrize(
    ("importer", "imported"),
    [("ovdiff.engine", "backend.settings"), ("ovdiff", "flask"), ("converters.cli", "ovdiff.engine")],
)
def test_meta_a_forbidden_import_is_seen(plant: Plant, importer: str, imported: str) -> None:
    assert forbidden_imports(plant(importer, imported), package_of(importer)) == [f"{importer} imports {imported}"]


@pytest.mark.parametrize("imported", ["torch", "requests", "ovdiff.errors"])
def test_meta_a_sixth_package_is_seen(plant: Plant, imported: str) -> None:
    offences = more_than_converters_need(plant("converters.records", imported))
    assert f"converters.records imports {imported}" in offences


@pytest.mark.parametrize("imported", ["converters.records", "converters", "converters.cli"])
def test_meta_other_converters_in_ovdiff_are_seen(plant: Plant, imported: str) -> None:
    assert f"ovdiff.bank.recipe imports {imported}" in converters_in_ovdiff(plant("ovdiff.bank.recipe", imported))


def test_meta_how_files_are_written_may_be_seen(plant: Plant) -> None:
    seen = plant("ovdiff.bank.recipe", "converters.files.atomic")
    assert "ovdiff.bank.recipe imports converters.files.atomic" not in converters_in_ovdiff(seen)


def test_meta_what_is_imported_from_outside_is_seen(house: grimp.ImportGraph) -> None:
    assert {other for _, other in outward_imports(house, "converters")} >= CONVERTERS_NEED
    assert ("backend.engine", "ovdiff.bank") in outward_imports(house, "backend")


@pytest.mark.parametrize(
    ("text", "imported"),
    [
        ("import drawn.cellar.wine", "drawn.cellar.wine"),
        ("import drawn.cellar.wine as w", "drawn.cellar.wine"),
        ("from drawn.cellar import wine", "drawn.cellar.wine"),
        ("from drawn.cellar import (\n    wine,\n)", "drawn.cellar.wine"),
        ("from drawn.cellar.wine import *", "drawn.cellar.wine"),
        ("from .cellar import wine", "drawn.cellar.wine"),
        ("def late():\n    from drawn.cellar import wine", "drawn.cellar.wine"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from drawn.cellar import wine", "drawn.cellar.wine"),
        ("try:\n    import drawn.cellar.wine\nexcept ImportError:\n    pass", "drawn.cellar.wine"),
        ("import importlib\nimportlib.import_module('drawn.cellar.wine')", "drawn.cellar.wine"),
        ("from importlib import import_module\nimport_module('.cellar', __name__)", "drawn.cellar"),
        (
            "from importlib import import_module\nimport_module(f'{__package__}.{name}')\nX = {'cellar': 1}",
            "drawn.cellar",
        ),
        ("import importlib\nX = 'drawn.cellar'\nimportlib.import_module(X)", "drawn.cellar"),
        ("MAKERS = {'wine': 'drawn.cellar.wine:make'}", "drawn.cellar.wine"),
        ("def late():\n    import torch.nn as nn", "torch"),
        ("import importlib\nimportlib.import_module('torch.nn')", "torch"),
    ],
)
def test_meta_an_import_is_seen_however_it_is_written(draw: Draw, text: str, imported: str) -> None:
    graph = draw({"hall.py": text, "cellar/__init__.py": "", "cellar/wine.py": ""})
    assert imported in graph.find_modules_directly_imported_by("drawn.hall")


def test_meta_similar_names_and_plain_words_are_no_imports(draw: Draw) -> None:
    text = "import torchlight\nfrom . import torch\nWORDS = ['cellar', 'drawn.cellar', 'see drawn.cellar:']"
    graph = draw({"hall.py": text, "torch.py": "", "cellar/__init__.py": "", "cellar/wine.py": ""})
    assert graph.find_modules_directly_imported_by("drawn.hall") == {"torchlight", "drawn.torch"}


def test_meta_a_file_that_the_graph_misses_is_named(draw: Draw, tmp_path: Path) -> None:
    graph = draw({"attic/loft.py": "import drawn", "hall.py": ""})
    assert unseen_files(graph, tmp_path, ["drawn"]) == ["drawn/attic/loft.py"]


def test_meta_an_import_that_cannot_be_followed_is_seen() -> None:
    source = "from importlib import import_module\n\nimport_module(name)"
    assert hidden_imports(source, "drawn", {"drawn", "drawn.hall"}) == [3]
    assert hidden_imports(source + "\nMAKERS = ('drawn.hall:make',)", "drawn", {"drawn", "drawn.hall"}) == []


@pytest.mark.parametrize(
    "source", ["import os\nos.environ['A']", "import os\nos.getenv('A')", "from os import environ"]
)
def test_meta_reading_the_environment_is_seen(source: str) -> None:
    assert reads_environment(source)
    assert not reads_environment("import os\nos.replace('a', 'b')")
