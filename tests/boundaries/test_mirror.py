"""Each module has a test file of its own, or its docstring names the one that tests it; the rule is shown to fail."""

import ast
import re
from pathlib import Path

import pytest

from benchmarks.import_graph import PACKAGES, module_files
from tests.boundaries.conftest import ROOT

_NAMED = re.compile(r"\btests/[\w/]+/test_\w+\.py\b")


def untested(root: Path, package: str) -> list[str]:
    """Say which modules of a package have no test file, and which name one that does not exist."""
    found = []
    for module, path in module_files(root, package):
        tree = ast.parse(path.read_text("utf-8"))
        named = _NAMED.findall(ast.get_docstring(tree) or "")
        found += [f"{module} names {file}, which does not exist" for file in named if not (root / file).is_file()]
        own = own_test_file(path.relative_to(root))
        if _has_code(tree) and not named and not (root / own).is_file():
            found.append(f"{module} has no test file: write {own}, or name another in its docstring")
    return found


def own_test_file(module: Path) -> Path:
    """Return the mirrored test file of a module; a package's own module is tested in a file of the package's name."""
    name = module.parent.name if module.stem == "__init__" else module.stem.strip("_")
    return Path("tests", module.parent, f"test_{name}.py")


def _has_code(tree: ast.Module) -> bool:
    """Say whether a module has anything but its docstring, imports, ``__all__`` and ``__version__``."""
    return not all(isinstance(node, ast.Import | ast.ImportFrom) or _is_label(node) for node in tree.body)


def _is_label(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("__all__", "__version__")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_has_a_test_file(package: str) -> None:
    assert untested(ROOT, package) == []


# The rule would pass on an empty project; these show that it can fail.


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project whose package "drawn" keeps the rule."""
    _write(
        tmp_path, "drawn/__init__.py", '"""Nothing of its own."""\nfrom drawn.hall import HALL\n\n__all__ = ["HALL"]'
    )
    _write(tmp_path, "drawn/hall.py", "HALL = 1")
    _write(tmp_path, "tests/drawn/test_hall.py", "")
    _write(tmp_path, "drawn/cellar/__init__.py", "def dig(): ...")
    _write(tmp_path, "tests/drawn/cellar/test_cellar.py", "")
    _write(tmp_path, "drawn/cellar/wine.py", '"""Tested by tests/drawn/test_hall.py."""\nWINE = 1')
    return tmp_path


def _write(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")


def test_meta_a_project_that_keeps_the_rule_passes(project: Path) -> None:
    assert untested(project, "drawn") == []


@pytest.mark.parametrize(
    ("deleted", "offence"),
    [
        ("tests/drawn/test_hall.py", "drawn.hall has no test file: write tests/drawn/test_hall.py, or name"),
        ("tests/drawn/test_hall.py", "drawn.cellar.wine names tests/drawn/test_hall.py, which does not exist"),
        ("tests/drawn/cellar/test_cellar.py", "drawn.cellar has no test file: write tests/drawn/cellar/test_cellar.py"),
    ],
)
def test_meta_a_test_file_that_is_gone_is_missed(project: Path, deleted: str, offence: str) -> None:
    (project / deleted).unlink()
    assert [found for found in untested(project, "drawn") if found.startswith(offence)]


def test_meta_a_new_module_without_a_test_file_is_seen(project: Path) -> None:
    _write(project, "drawn/attic.py", "def climb(): ...")
    assert untested(project, "drawn") == [
        "drawn.attic has no test file: write tests/drawn/test_attic.py, or name another in its docstring"
    ]


def test_meta_the_packages_are_not_empty() -> None:
    assert {package for package in PACKAGES if len(list(module_files(ROOT, package))) > 20} == set(PACKAGES)
