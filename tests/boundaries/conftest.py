"""The graph of the house's imports, read once; and houses drawn for one test, to show that a rule can fail."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import grimp
import pytest

from benchmarks.import_graph import import_graph

ROOT = Path(__file__).parents[2]
Draw = Callable[[dict[str, str]], grimp.ImportGraph]
Plant = Callable[[str, str], grimp.ImportGraph]


@pytest.fixture(scope="session")
def house() -> grimp.ImportGraph:
    """Return who imports whom in this checkout."""
    return import_graph(ROOT)


@pytest.fixture
def plant(house: grimp.ImportGraph) -> Plant:
    """Return a function that adds an import to a copy of the house."""

    def with_import(importer: str, imported: str) -> grimp.ImportGraph:
        broken = deepcopy(house)
        broken.add_import(importer=importer, imported=imported)
        return broken

    return with_import


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Return a function that writes a package ``drawn`` from its files' texts, and reads its graph."""

    def write(files: dict[str, str]) -> grimp.ImportGraph:
        for name, text in ({"__init__.py": ""} | files).items():
            file = tmp_path / "drawn" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        return import_graph(tmp_path, ["drawn"])

    return write
