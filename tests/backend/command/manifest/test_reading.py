"""Manifests of every kind, read a row at a time: from files, folders, a storage and a project."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from backend.command.addresses import image_path
from backend.command.manifest import reading
from backend.command.manifest.reading import MOST_LINE_CHARACTERS, open_manifest, project_manifest, require_rows
from backend.command.manifest.rows import Columns, Unreadable
from backend.errors import UsageError
from backend.serving.prelabelling.patience import Patience
from backend.settings import LabelStudioSettings
from backend.sources import task_pages
from backend.sources.label_studio import LabelStudioClient
from converters.errors import CocoError
from ovdiff.errors import MissingExtraError
from ovdiff.storage import stored_path
from tests.fakes.label_studio import LEGACY_TOKEN
from tests.fakes.project_studio import Fault, ProjectStudio, running_project
from tests.fakes.scripted_server import scripted_server
from tests.storages import Cable, new_bucket

ROWS = [{"image": "a.png", "id": 3, "source": "x"}, {"image": "b.png", "id": 4, "source": "y"}]
ALL = Columns()


def said(path: Path, columns: Columns = ALL, **more: Any) -> list[tuple[int, object]]:
    return list(open_manifest(path, columns, **more).read())


def test_lines_are_rows_and_a_bad_line_is_one_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    long = json.dumps({"image": "x" * MOST_LINE_CHARACTERS})
    lines = ["\ufeff" + json.dumps(ROWS[0]), "", "{'image'", long, json.dumps(ROWS[1]), "[" * 100_000]
    path.write_text("\n".join(lines), encoding="utf-8")
    found = said(path)
    assert [number for number, _ in found] == [1, 2, 3, 4, 5]
    assert [found[0][1], found[3][1]] == ROWS
    bad = [each for _, each in found if isinstance(each, Unreadable)]
    assert [each.value[:9] for each in bad] == ["\"{'image'", '\'{"image"', "'[[[[[[[["]
    assert bad[0].reason.startswith("expected one JSON object a line (Expecting property name")
    assert bad[1].reason == f"expected a line of at most {MOST_LINE_CHARACTERS} bytes"


@pytest.mark.parametrize("name", ["none.jsonl", "bad.json", "bad.parquet"])
def test_a_signature_is_in_no_message(name: str) -> None:
    with scripted_server() as server:
        for each in ("bad.json", "bad.parquet"):
            server.answers[f"GET /{each}"] = (200, b"no manifest")
        with pytest.raises((UsageError, CocoError)) as caught:
            if name == "none.jsonl":
                server.answers[f"GET /{name}"] = (200, b"")
                manifest = open_manifest(image_path(f"{server.url}/{name}?sig=hush&as={name}"), ALL)
                server.answers[f"GET /{name}"] = (403, b"")
                list(manifest.read())
            said(image_path(f"{server.url}/{name}?sig=hush&as={name}"))
    assert f"{name}?..." in str(caught.value) and "hush" not in str(caught.value)


def test_the_images_of_a_coco_file_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    images = [{"id": 9, "file_name": "a.png", "width": 4, "height": 3, "license": 1}]
    path.write_text(json.dumps({"annotations": [{"id": 1}], "images": images, "categories": []}))
    manifest = open_manifest(path, Columns())
    assert manifest.columns.image == "file_name" and manifest.folder == tmp_path
    assert list(manifest.read()) == [(1, images[0])]
    assert open_manifest(path, Columns(), image_column="coco_url").columns.image == "coco_url"
    path.write_text('{"images": [{"id": 9}, {"id"')
    with pytest.raises(CocoError, match=r"instances.json: expected JSON, which breaks or ends too early"):
        said(path)


def test_a_table_gives_the_columns_that_are_used(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    table = pyarrow.table(
        {
            "image": [row["image"] for row in ROWS] * 400,
            "id": list(range(800)),
            "source": ["x"] * 800,
            "thumbnail": [b"\0"] * 800,
        }
    )
    parquet.write_table(table, path, row_group_size=300)
    found = said(path)
    assert len(found) == 800 and found[-1] == (800, {"image": "b.png", "id": 799, "source": "x"})
    assert said(path, Columns(carried=()))[0] == (1, {"image": "a.png", "id": 0})
    for column, message in (("thumbnail", "holds bytes, which are not carried"), ("size", "is not there")):
        with pytest.raises(UsageError, match=f"--carry names '{column}', which {message}.*image, id, source"):
            said(path, Columns(carried=(column,)))
    with pytest.raises(UsageError, match=r"no column 'path'; .*--image-column: image, id, source, thumbnail"):
        said(path, image_column="path")
    with pytest.raises(UsageError, match=r"The column 'thumbnail' of .* holds binary; expected texts, the paths"):
        said(path, image_column="thumbnail")
    path.write_bytes(b"PAR1 no table")
    with pytest.raises(UsageError, match=r"rows.parquet cannot be read as a Parquet file: .* Write it anew"):
        said(path)


# Not ru_maxrss, which a process takes over from the one that started it.
_PEAK = r"""
import re, sys
from pathlib import Path
from backend.command.manifest.reading import open_manifest
from backend.command.manifest.rows import Columns

count = sum(1 for _ in open_manifest(Path(sys.argv[1]), Columns()).read())
print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1], count)
"""


def test_a_table_is_not_in_memory(tmp_path: Path) -> None:
    peaks_kib = []
    for count in (10_000, 200_000):
        path = tmp_path / f"{count}.parquet"
        parquet.write_table(pyarrow.table({"image": [f"{n}.png" for n in range(count)], "id": range(count)}), path)
        done = subprocess.run([sys.executable, "-c", _PEAK, str(path)], capture_output=True, text=True, check=True)
        peak_kib, read = map(int, done.stdout.split())
        assert read == count
        peaks_kib.append(peak_kib)
    assert peaks_kib[1] - peaks_kib[0] < 30 * 1024, "of 190,000 rows, which as Python objects are more than 60 MiB"


def test_a_table_without_the_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    (tmp_path / "rows.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"Reading a Parquet file needs pyarrow"):
        said(tmp_path / "rows.parquet")


def test_the_number_of_rows_is_known_where_that_costs_little(tmp_path: Path) -> None:
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines/a.jsonl").write_text('{"image": "a.png"}\n{"image": "b.png"}')
    (tmp_path / "lines/b.jsonl").write_text('{"image": "c.png"}\n')
    parquet.write_table(pyarrow.Table.from_pydict({"image": ["a.png"] * 5}), tmp_path / "rows.parquet")
    (tmp_path / "coco.json").write_text('{"images": []}')
    stored = image_path("memory://counted/rows.jsonl")
    stored.write_text("{}\n")
    named = [
        tmp_path / "lines",
        tmp_path / "rows.parquet",
        tmp_path / "coco.json",
        stored,
    ]
    assert [open_manifest(path, Columns()).count() for path in named] == [3, 5, None, None]


def test_the_files_of_a_folder_are_one_manifest(tmp_path: Path) -> None:
    for name, row in (("b.jsonl", ROWS[1]), ("a.jsonl", ROWS[0])):
        (tmp_path / name).write_text(json.dumps(row))
    (tmp_path / "notes.txt").touch()
    assert said(tmp_path) == [(1, ROWS[0]), (2, ROWS[1])]
    assert open_manifest(tmp_path, Columns()).folder == tmp_path
    (tmp_path / "c.parquet").touch()
    with pytest.raises(UsageError, match=r"holds .jsonl, .parquet; name one kind"):
        open_manifest(tmp_path, Columns())
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no manifest \(.parquet, .jsonl\)"):
        open_manifest(tmp_path / "empty", Columns())


def test_what_is_no_manifest_is_said_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no manifest '.*gone.jsonl'"):
        open_manifest(tmp_path / "gone.jsonl", Columns())
    (tmp_path / "rows.csv").touch()
    with pytest.raises(UsageError, match=r"rows.csv'; expected a name that ends in .parquet, .jsonl or .ndjson"):
        open_manifest(tmp_path / "rows.csv", Columns())


def test_the_beginning_of_a_manifest_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(["{", *map(json.dumps, ROWS)]))
    manifest = open_manifest(path, Columns())
    require_rows(manifest, [("--id-column", "id"), ("--carry", "source")])
    with pytest.raises(
        UsageError, match=r"--carry names 'camera', which the first row of .* expected of: image, id, so"
    ):
        require_rows(manifest, [("--carry", "camera")])
    path.write_text("")
    with pytest.raises(UsageError, match=r"rows.jsonl has no row"):
        require_rows(manifest, [])


def test_a_table_without_the_named_column_of_ids_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([{**ROWS[0], "other": None}, ROWS[1]]), path)
    require_rows(open_manifest(path, Columns(id="other")), [("--id-column", "other")])
    with pytest.raises(UsageError, match=r"--id-column names 'nope', which the first row"):
        require_rows(open_manifest(path, Columns(id="nope")), [("--id-column", "nope")])


def test_the_name_of_a_manifest_holds_no_signature() -> None:
    address = "memory://signed/rows.jsonl?sig=hush"
    with pytest.raises(UsageError, match=r"There is no manifest 'memory://signed/rows.jsonl\?\.\.\.'"):
        open_manifest(image_path(address), Columns())
    folder: Any = image_path("memory://signed?sig=hush")
    (folder / "rows.jsonl").write_bytes(json.dumps(ROWS[0]).encode())
    assert open_manifest(folder, Columns()).name == "memory://signed?..."


def test_a_manifest_may_lie_in_a_storage() -> None:
    folder: Any = image_path("memory://manifests")
    (folder / "rows.jsonl").write_bytes("\n".join(map(json.dumps, ROWS)).encode())
    table = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), table)
    (folder / "rows.parquet").write_bytes(table.getvalue().to_pybytes())
    (folder / "coco.json").write_bytes(json.dumps({"images": ROWS}).encode())
    for name in ("rows.jsonl", "rows.parquet", "coco.json"):
        manifest = open_manifest(folder / name, Columns())
        assert list(manifest.read()) == [(1, ROWS[0]), (2, ROWS[1])]
        assert manifest.folder / "a.png" == folder / "a.png"


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet", "coco.json"])
def test_a_manifest_whose_storage_goes_away_in_its_middle_is_read_to_its_end(
    name: str, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_path, "BLOCK_BYTES", 8192)
    monkeypatch.setattr(reading, "_BUFFER_BYTES", 8192)
    rows = [{"image": f"{number:0200}.png", "id": number} for number in range(2000)]
    folder: Any = image_path(f"{new_bucket()}/manifests", 60.0)
    if name == "rows.parquet":
        table = pyarrow.BufferOutputStream()
        parquet.write_table(pyarrow.Table.from_pylist(rows), table, row_group_size=500)
        (folder / name).write_bytes(table.getvalue().to_pybytes())
    else:
        text = "\n".join(map(json.dumps, rows)) if name == "rows.jsonl" else json.dumps({"images": rows})
        (folder / name).write_bytes(text.encode())
    found = open_manifest(folder / name, Columns()).read()
    first = [next(found) for _ in range(10)]
    cable.cut()
    threading.Timer(0.5, cable.mend).start()
    assert [each for _, each in [*first, *found]] == rows


def test_a_manifest_that_is_replaced_while_it_is_read_is_said(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_path, "BLOCK_BYTES", 1000)
    path: Any = image_path(f"{bucket}/rows.jsonl")
    path.write_bytes(b'{"image": "a.png"}\n' * 1000)
    found = open_manifest(path, Columns()).read()
    next(found)
    path.write_bytes(b'{"image": "b.png"}\n' * 1000)
    with pytest.raises(UsageError, match=r"rows.jsonl was replaced or deleted while it was read"):
        list(found)


def test_the_tasks_of_a_project_are_rows() -> None:
    studio = ProjectStudio()
    studio.add_tasks(3)
    with running_project(studio):
        client = LabelStudioClient(LabelStudioSettings(url=studio.url, api_key=LEGACY_TOKEN))
        manifest = project_manifest(client, 1, "image", Columns(id="other"))
        found = list(manifest.read())
        assert manifest.count() == 3
    assert manifest.columns == Columns("image", "id")
    assert found == [(n, {"image": f"/data/upload/1/{n}.png", "id": n}) for n in (1, 2, 3)]


def test_a_label_studio_that_is_restarted_while_its_tasks_are_read_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task_pages, "MOST_TASKS", 2)
    faults, pauses = [None, Fault(None), Fault(None)], list[float]()
    studio = ProjectStudio(before=lambda asked: faults.pop(0) if faults else None)
    studio.add_tasks(5)
    with running_project(studio):
        client = LabelStudioClient(LabelStudioSettings(url=studio.url, api_key=LEGACY_TOKEN))
        patience = Patience(sleep=pauses.append)
        found = list(project_manifest(client, 1, "image", Columns(), patience).read())
    assert [number for number, _ in found] == [row["id"] for _, row in found] == [1, 2, 3, 4, 5]
    assert pauses == [1.0, 2.0]
