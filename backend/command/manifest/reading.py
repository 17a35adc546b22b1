"""Manifests as they are written, read a row at a time: Parquet, JSON lines, a COCO file, the tasks of a project.

    x.parquet            a row group at a time, and of that a few rows; only the columns that are used
    x.jsonl, x.ndjson    a line is a row
    x.json               the `images` of a COCO file, one after the other (`converters.files.json_stream`)
    a folder             all of its Parquet files, or all of its JSON lines, in the order of their names
    a project            its tasks, a page at a time (`backend.sources.task_pages`)

A file may lie at an address of a storage. Rows are numbered from 1 over all files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from backend.command.addresses import files_below, looking_at, shown_path
from backend.command.manifest.rows import Columns, Unreadable, shown
from backend.errors import UsageError
from backend.serving.prelabelling.patience import Patience, bare_pages
from backend.sources.label_studio import LabelStudioClient
from backend.sources.task_pages import TaskPage, count_tasks
from converters.errors import CocoError
from converters.files.json_stream import read_json_member_array
from converters.files.redaction import without_secrets
from ovdiff.extras import naming_the_extra
from ovdiff.storage import is_stored
from ovdiff.storage.patience import reason

Said = Iterator[tuple[int, object]]
"""The number of each row, and what the manifest says there."""

PARQUET, LINES, COCO = frozenset({".parquet", ".pq"}), frozenset({".jsonl", ".ndjson"}), frozenset({".json"})
MOST_LINE_CHARACTERS = 1 << 20
_LOOKED_AT = 10  # rows, before anything is built
ROWS_AT_ONCE = 256  # of a Parquet file, as Python objects
_BUFFER_BYTES = 1 << 20  # of each column of a Parquet file: a row group is not read whole
COCO_IMAGE_COLUMN = "file_name"


@dataclass(frozen=True)
class Manifest:
    """A manifest that can be read.

    Attributes:
        name: what it is called in the results.
        folder: what the paths of its images are relative to, where nobody says otherwise; of no use for a project.
        columns: which of its columns mean what.
        read: returns what its rows say, from the first one on.
        count: returns how many rows it has at most; None where that would cost reading it at an address, or parsing it.
    """

    name: str
    folder: Path
    columns: Columns
    read: Callable[[], Said]
    count: Callable[[], int | None] = lambda: None


def open_manifest(path: Path, columns: Columns, *, image_column: str | None = None) -> Manifest:
    """Find out what a manifest is; its rows are read later.

    Args:
        path: a file, or a folder of files of one kind, here or at an address.
        columns: which columns mean what.
        image_column: the column of the images; None: "image", and "file_name" in a COCO file.

    Raises:
        UsageError: there is no such file, its name does not say what it is, or a folder holds no manifest.
    """
    name = shown_path(path)
    with looking_at():
        if not path.exists():
            raise UsageError(f"There is no manifest {name!r}: name a file, a folder of files, or an address.")
        is_folder = path.is_dir()
    files = _files_of(path) if is_folder else [path]
    suffix = files[0].suffix.lower()
    if suffix not in PARQUET | LINES | COCO:
        raise UsageError(
            f"--manifest is {name!r}; expected a name that ends in .parquet, .jsonl or .ndjson, or in .json for a "
            "COCO file."
        )
    chosen = image_column or (COCO_IMAGE_COLUMN if suffix in COCO else columns.image)
    columns = Columns(chosen, columns.id, columns.carried)
    folder = path if is_folder else path.parent
    return Manifest(name, folder, columns, lambda: _numbered(files, suffix, columns), partial(_count, files, suffix))


def require_rows(manifest: Manifest, named: Sequence[tuple[str, str]]) -> None:
    """Look at the beginning of a manifest, before anything is built for it.

    Args:
        manifest: the manifest.
        named: each option that names a column, such as "--carry", with the column.

    Raises:
        UsageError: the manifest cannot be read, has no row, or its first row lacks a column that is named.
        CocoError: a COCO file cannot be read.
    """
    found = [said for _, said in islice(manifest.read(), _LOOKED_AT)]
    if not found:
        raise UsageError(f"{manifest.name} has no row.")
    first = next((said for said in found if isinstance(said, Mapping)), None)
    for option, column in named:
        if first is not None and column not in first:
            raise UsageError(
                f"{option} names {column!r}, which the first row of {manifest.name} does not have; expected of: "
                f"{', '.join(list(map(str, first))[:20])}."
            )


def _files_of(folder: Path) -> list[Path]:
    files = [file for file in files_below(folder) if file.suffix.lower() in PARQUET | LINES]
    kinds = {file.suffix.lower() for file in files}
    if not files:
        raise UsageError(
            f"The folder {shown_path(folder)!r} holds no manifest (.parquet, .jsonl). To segment all images of a "
            "folder, name it without --manifest."
        )
    if not (kinds <= PARQUET or kinds <= LINES):
        raise UsageError(f"The folder {shown_path(folder)!r} holds {', '.join(sorted(kinds))}; name one kind of them.")
    return files


def _count(files: Sequence[Path], suffix: str) -> int | None:
    if suffix in PARQUET:
        return sum(map(_count_rows, files))
    if suffix in LINES and not any(map(is_stored, files)):
        return sum(map(_count_lines, files))
    return None


def _count_lines(file: Path) -> int:
    """Return the number of a file's lines, empty ones included: 1 GB takes about a second."""
    count, last = 0, b"\n"
    with _opened(file), file.open("rb") as stream:
        while block := stream.read(_BUFFER_BYTES):
            count, last = count + block.count(b"\n"), block[-1:]
    return count + (last != b"\n")


def _numbered(files: list[Path], suffix: str, columns: Columns) -> Said:
    number = 0
    for file in files:
        for said in _read(file, suffix, columns):
            number += 1
            yield number, said


def _read(file: Path, suffix: str, columns: Columns) -> Iterator[object]:
    if suffix in PARQUET:
        return _parquet(file, columns)
    if suffix in LINES:
        return _lines(file)
    return _coco(file)


# ---------------------------------------------------------------- JSON


def _lines(file: Path) -> Iterator[object]:
    """Yield what each line of a file holds; a line that is no JSON is a row that cannot be read."""
    with _opened(file), file.open("rb") as stream:
        while line := stream.readline(MOST_LINE_CHARACTERS + 1):
            if len(line) > MOST_LINE_CHARACTERS and not line.endswith(b"\n"):
                while (rest := stream.readline(MOST_LINE_CHARACTERS)) and not rest.endswith(b"\n"):
                    pass
                yield Unreadable(_text(line), f"expected a line of at most {MOST_LINE_CHARACTERS} bytes")
            elif line.strip():
                yield _line(line)


def _line(line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return Unreadable(_text(line), f"expected one JSON object a line ({error!s:.100}); correct the line")


def _text(line: bytes) -> str:
    return shown(line[:500].decode("utf-8", "replace").rstrip())


def _coco(file: Path) -> Iterator[object]:
    with _opened(file):
        yield from read_json_member_array(file, "images")


# ---------------------------------------------------------------- Parquet


def _parquet(file: Path, columns: Columns) -> Iterator[object]:
    with naming_the_extra("Reading a Parquet file"):
        import pyarrow
        from pyarrow import parquet
    with _opened(file), file.open("rb", _BUFFER_BYTES) as stream:
        try:
            table = parquet.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False)
            wanted = _wanted_columns(file, table.schema_arrow, columns)
            for batch in table.iter_batches(ROWS_AT_ONCE, columns=wanted, use_threads=False):
                yield from batch.to_pylist()
        except pyarrow.ArrowException as error:
            raise UsageError(f"{file} cannot be read as a Parquet file: {error}. Write it anew.") from error


def _count_rows(file: Path) -> int:
    """Return the number of a Parquet file's rows, which its end says."""
    with naming_the_extra("Reading a Parquet file"):
        import pyarrow
        from pyarrow import parquet
    with _opened(file), file.open("rb", _BUFFER_BYTES) as stream:
        try:
            return int(parquet.ParquetFile(stream).metadata.num_rows)
        except pyarrow.ArrowException as error:
            raise UsageError(f"{file} cannot be read as a Parquet file: {error}. Write it anew.") from error


def _wanted_columns(file: Path, schema: Any, columns: Columns) -> list[str]:
    """Return the columns that are read: those that mean something, and those that are carried through.

    Raises:
        UsageError: there is no column of images, it holds no texts, or a column that is to be carried through is not
            there or holds bytes.
    """
    names = list(schema.names)
    if columns.image not in names:
        raise UsageError(
            f"{file} has no column {columns.image!r}; name the column of the images' paths or addresses with "
            f"--image-column: {', '.join(names)}."
        )
    kind = str(schema.field(columns.image).type)
    if kind not in ("string", "large_string", "string_view") and "dictionary<values=string" not in kind:
        raise UsageError(
            f"The column {columns.image!r} of {file} holds {kind}; expected texts, the paths or addresses of images. "
            "Images that are in the table itself are to be written to files first."
        )
    with_bytes = {name for name in names if "binary" in str(schema.field(name).type)}
    if columns.carried is None:
        return [name for name in names if name not in with_bytes]
    for name in columns.carried:
        if name not in names or name in with_bytes:
            what = "holds bytes, which are not carried through" if name in names else "is not there"
            raise UsageError(f"--carry names {name!r}, which {what} in {file}; expected of: {', '.join(names)}.")
    return [name for name in names if name in {columns.image, columns.id, "width", "height", *columns.carried}]


@contextmanager
def _opened(file: Path) -> Iterator[None]:
    """Turn whatever a file or a storage raises while it is read into an error in words.

    Raises:
        UsageError: the file cannot be read.
        CocoError: it is no COCO file.
    """
    try:
        with looking_at():
            yield
    except OSError as error:
        raise UsageError(f"{shown_path(file)} cannot be read: {reason(error)}.") from error
    except (UsageError, CocoError) as error:  # What is wrong in a file is said with its address as it is.
        raise type(error)(without_secrets(str(error))) from error


# ---------------------------------------------------------------- projects


def project_manifest(
    client: LabelStudioClient, project: int, image_name: str, columns: Columns, patience: Patience | None = None
) -> Manifest:
    """Return the tasks of a project as a manifest; an image's id is the id of its task.

    Args:
        client: asks Label Studio.
        project: the number of the project.
        image_name: the name of the image in the data of a task.
        columns: which of the task's data is carried through.
        patience: how long Label Studio is asked again (None: two minutes).
    """
    columns, patience = Columns(image_name, "id", columns.carried), patience or Patience()
    pages = partial(bare_pages, patience, client, project)
    count = partial(patience.ask, partial(count_tasks, client, project))
    return Manifest(f"project {project} of {client.base_url}", Path(), columns, lambda: _tasks(pages()), count)


def _tasks(pages: Iterator[TaskPage]) -> Said:
    number = 0
    for page in pages:
        for task in page.tasks:
            number += 1
            data = task.get("data")
            yield number, {**(data if isinstance(data, Mapping) else {}), "id": task["id"]}
