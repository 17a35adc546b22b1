"""A folder of shards, here and in a storage: whole files, and what they say of themselves."""

import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from backend.command.manifest.shards import Format, ShardFolder
from backend.errors import RequestError, UsageError
from converters.errors import CocoError
from ovdiff.errors import StorageError
from ovdiff.storage import place as place_at
from tests.storages import Cable, new_bucket

DATASET: dict[str, Any] = {
    "info": {"model_version": "v", "rows": {"first": 1, "last": 2, "sha256": "x"}},
    "images": [{"id": 1, "file_name": "a.png", "width": 2, "height": 2}],
    "categories": [{"id": 1, "name": "boat"}],
    "annotations": [],
}


@pytest.fixture(params=["here", "storage"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / "out" if request.param == "here" else place_at(f"memory://{tmp_path.name}/out")


@pytest.mark.parametrize("form", ["coco", "parquet"])
def test_a_shard_says_what_it_is(place: Path, form: Format) -> None:
    folder = ShardFolder(place, form)
    assert folder.shards() == frozenset() and folder.info(0) is None and folder.index() is None
    folder.write(0, DATASET)
    folder.write(12, DATASET)
    assert folder.shards() == {0, 12}
    assert folder.name(12) == f"shard-000012.{'json' if form == 'coco' else 'parquet'}"
    assert folder.info(12) == DATASET["info"] and folder.info(1) is None
    folder.write_index({"run": {"model_version": "v"}, "shards": []})
    assert folder.index() == {"model_version": "v"} and folder.shards() == {0, 12}
    folder.remove_index()
    folder.remove_index()
    assert folder.index() is None


def test_a_damaged_shard_is_no_shard(tmp_path: Path) -> None:
    for form, name in (("coco", "shard-000000.json"), ("parquet", "shard-000000.parquet")):
        folder = ShardFolder(tmp_path / form, form)  # type: ignore[arg-type]
        (tmp_path / form).mkdir()
        for data in (b"", b'{"info": 3}', b'{"info', b"PAR1"):
            (tmp_path / form / name).write_bytes(data)
            assert folder.info(0) is None
        (tmp_path / form / "index.json").write_bytes(b'{"run"')
        assert folder.index() is None


def test_two_formats_do_not_share_a_folder(tmp_path: Path) -> None:
    ShardFolder(tmp_path, "coco").write(0, DATASET)
    with pytest.raises(UsageError, match=r"holds shards of another format \(shard-000000.json\); name a new folder"):
        ShardFolder(tmp_path, "parquet").shards()


def test_a_folder_is_looked_at_before_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ShardFolder(tmp_path / "new", "parquet").require_usable()
    (tmp_path / "out").write_text("a file")
    for path in (tmp_path / "out", tmp_path / "out/deep"):
        with pytest.raises(
            UsageError, match=r"--out is '.*out.*', which cannot be listed: Not a directory. Name a folder"
        ):
            ShardFolder(path, "coco").require_usable()
    with pytest.raises(UsageError, match=r"--out is '/proc/new/index.json', and nothing can be written in '/proc'"):
        ShardFolder(Path("/proc/new"), "coco").require_usable()  # a whole shard was segmented before
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        CocoError, match=r"expected pyarrow.* to be installed. In a checkout .*: pip install '.\[ray\]'"
    ):
        ShardFolder(tmp_path / "new", "parquet").require_usable()


def test_a_coco_shard_is_a_coco_file(tmp_path: Path) -> None:
    from converters.datasets.coco_index import read_coco

    ShardFolder(tmp_path, "coco").write(0, DATASET)
    assert read_coco(tmp_path / "shard-000000.json") == DATASET
    assert json.loads((tmp_path / "shard-000000.json").read_text()) == DATASET


def test_a_shard_that_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(RequestError, match=r"out.shard-000000.json cannot be written: "):
        ShardFolder(tmp_path / "out", "coco").write(0, DATASET)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_storage_that_is_away_for_a_moment_costs_no_shard(cable: Cable) -> None:
    address = f"{new_bucket()}/out"
    folder = ShardFolder(place_at(address, 60.0), "coco")
    folder.write(0, DATASET)
    cable.cut()
    threading.Timer(1.0, cable.mend).start()
    folder.write(1, DATASET)
    assert folder.shards() == {0, 1} and folder.info(1) == DATASET["info"]
    cable.cut()
    with pytest.raises(StorageError, match=r"shard-000002\.json cannot be written.*Look whether the storage runs"):
        ShardFolder(place_at(address, 0.0), "coco").write(2, DATASET)
