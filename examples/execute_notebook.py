"""Run a notebook from its first cell to its last, and keep what it showed.

    python -m examples.execute_notebook examples/quickstart.ipynb     # half a minute; writes the outputs into the file

What changes from run to run, such as times, is not kept: an unchanged notebook stays the same file.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

CELL_TIMEOUT_S = 300


def read_notebook(path: Path) -> NotebookNode:
    """Return a notebook as nbformat reads it, version 4."""
    notebook: NotebookNode = nbformat.read(path, as_version=4)
    return notebook


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Run every cell of a notebook in a folder, and return it with the new outputs.

    Pictures are kept as JPEG alone, which is a tenth of PNG. What libraries say on stderr is not kept.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; the message holds its traceback.
    """
    fresh = nbformat.from_dict(notebook)
    fresh.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    client = NotebookClient(
        fresh,
        timeout=CELL_TIMEOUT_S,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    fresh.metadata.pop("language_info", None)  # the kernel's version
    for cell in fresh.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [_smaller(output) for output in cell.outputs if output.get("name") != "stderr"]
    return fresh


def _smaller(output: NotebookNode) -> NotebookNode:
    data = output.get("data", {})
    if "image/jpeg" in data:
        data.pop("image/png", None)
    return output


def main(path: Path) -> None:
    """Write a notebook's outputs into its file."""
    with TemporaryDirectory() as folder:
        nbformat.write(execute(read_notebook(path), Path(folder)), path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
