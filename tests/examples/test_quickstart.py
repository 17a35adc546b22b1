"""The notebook of the examples, run as it is committed."""

import re
from pathlib import Path

import pytest
from nbformat import NotebookNode

from examples.execute_notebook import execute, read_notebook

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples/quickstart.ipynb"
MOST_BYTES = 200_000  # GitHub shows it at once


def _shown(notebook: NotebookNode) -> list[tuple[str, list[str]]]:
    """Return each code cell with what it shows: the kinds of its outputs, and its text without the digits."""
    return [
        (cell.source, [_kind(output) for output in cell.outputs]) for cell in notebook.cells if cell.cell_type == "code"
    ]


def _kind(output: NotebookNode) -> str:
    return re.sub(r"\d+", "0", output.get("text", "")) or " ".join(sorted(output.data))


def test_the_committed_outputs_are_what_the_notebook_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the kernel is a process of its own
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    committed = read_notebook(NOTEBOOK)
    executed = execute(committed, tmp_path)
    assert _shown(executed) == _shown(committed)
    assert sum("image/jpeg" in kind for _, kinds in _shown(committed) for kind in kinds) == 4
    assert list((tmp_path / "ovdiff-data/bank").glob("*.safetensors"))


def test_the_file_is_small_and_names_no_machine() -> None:
    text = NOTEBOOK.read_text("utf-8")
    assert len(text) < MOST_BYTES
    assert not re.search(r"/(home|root|work|tmp)/|site-packages", text)
