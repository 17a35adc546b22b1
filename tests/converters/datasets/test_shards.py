"""Shards of a manifest's results become one COCO file; what is missing or from elsewhere is noticed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from converters import cli
from converters.datasets.rle_table import coco_to_rle_table
from converters.datasets.shards import join_shards
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.errors import CocoError

SQUARE = mask_to_coco_rle(np.ones((4, 6), dtype=np.bool_))


def shard(index: int, *, version: str = "v", left_out: int = 0, name: str = "boat") -> dict[str, Any]:
    """The shard of rows 2 index + 1 and 2 index + 2."""
    numbers = (2 * index + 1, 2 * index + 2)
    shape = {"segmentation": SQUARE, "area": 24, "bbox": [0.0, 0.0, 6.0, 4.0], "iscrowd": 0, "score": 0.5}
    return {
        "info": {
            "description": "Predicted by ovdiff",
            "model_version": version,
            "rows": {"first": numbers[0], "last": numbers[1], "sha256": "x"},
            "counts": {"left_out": left_out},
            "categories": {},
            "left_out": [],
        },
        "images": [{"id": number, "file_name": f"{number}.png", "width": 6, "height": 4} for number in numbers],
        "categories": [{"id": 1, "name": name, "supercategory": ""}],
        "annotations": [{"id": 10 * number, "image_id": number, "category_id": 1, **shape} for number in numbers],
    }


def write(folder: Path, *datasets: dict[str, Any], parquet: bool = False, index: bool = True) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = []
    for number, dataset in enumerate(datasets):
        path = folder / f"shard-{number:06}.{'parquet' if parquet else 'json'}"
        path.write_bytes(coco_to_rle_table(dataset) if parquet else json.dumps(dataset).encode())
        paths.append(path)
    if index:
        shards = [{"file": path.name} for path in paths]
        (folder / "index.json").write_text(json.dumps({"run": {}, "shards": shards}))
    return paths


def test_shards_of_either_form_become_the_same_coco_file(tmp_path: Path) -> None:
    for form in (False, True):
        write(tmp_path / str(form), *map(shard, range(3)), parquet=form)
        joined = join_shards([tmp_path / str(form)], tmp_path / f"{form}.json")
        assert (joined.shards, joined.images, joined.annotations, joined.is_whole) == (3, 6, 6, True)
    assert (tmp_path / "True.json").read_bytes() == (tmp_path / "False.json").read_bytes()
    dataset = COCO(str(tmp_path / "True.json")).dataset
    assert dataset["info"] == {"description": "Predicted by ovdiff", "model_version": "v"}
    assert [image["id"] for image in dataset["images"]] == [1, 2, 3, 4, 5, 6]
    assert dataset["annotations"] == [each for number in range(3) for each in shard(number)["annotations"]]


def test_files_may_be_named_in_any_order_and_the_index_decides_what_belongs_to_a_folder(tmp_path: Path) -> None:
    paths = write(tmp_path / "out", *map(shard, range(3)), index=False)
    joined = join_shards(paths[::-1], tmp_path / "a.json")
    assert joined.images == 6 and not joined.is_whole
    assert [image["id"] for image in json.loads((tmp_path / "a.json").read_text())["images"]] == [1, 2, 3, 4, 5, 6]
    assert join_shards([tmp_path / "out"], tmp_path / "b.json").is_whole is False
    (tmp_path / "out/index.json").write_text(json.dumps({"shards": [{"file": paths[0].name}]}))
    assert join_shards([tmp_path / "out"], tmp_path / "b.json").images == 2


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ([shard(0), shard(2)], r"000001.json: expected rows from 3 on, got 5: a shard is missing; run .* again"),
        ([shard(0), shard(0)], r"000001.json: expected rows from 3 on, got 1: some would come twice"),
        ([shard(0), shard(1, version="w")], r"000001.json: expected a shard of the run that made .*000000.json, got"),
        ([shard(0), shard(1, name="ship")], "got one of another run"),
        ([{**shard(0), "info": {"x": 1}}], r'000000.json: expected a shard of `ovdiff segment --manifest`, got {"x"'),
        ([{"images": []}], "expected a shard of .*, got null as its info"),
    ],
)
def test_shards_that_do_not_fit_are_named(tmp_path: Path, datasets: list[Any], message: str) -> None:
    write(tmp_path / "out", *datasets)
    with pytest.raises(CocoError, match=message):
        join_shards([tmp_path / "out"], tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


def test_a_folder_without_shards_and_a_damaged_one_are_said(tmp_path: Path) -> None:
    with pytest.raises(CocoError, match="expected shards that `ovdiff segment --manifest` wrote, got a folder without"):
        join_shards([tmp_path], tmp_path / "a.json")
    write(tmp_path, shard(0), parquet=True)
    (tmp_path / "shard-000000.parquet").write_bytes(b"nothing")
    with pytest.raises(CocoError, match=r"shard-000000.parquet: expected a Parquet file of masks"):
        join_shards([tmp_path], tmp_path / "a.json")
    (tmp_path / "index.json").write_text('{"shards": [3]}')
    with pytest.raises(CocoError, match=r"index.json: expected a list of files under 'shards'"):
        join_shards([tmp_path], tmp_path / "a.json")


def test_the_command_says_what_it_joined_and_its_status_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "out", shard(0), shard(1))
    assert cli.main(["join", str(tmp_path / "out"), "--out", str(tmp_path / "a.json")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "shards: 2; images: 4; annotations: 4", f"written: {tmp_path / 'a.json'}"
    ]  # fmt: skip
    write(tmp_path / "out", shard(0, left_out=3), index=False)
    (tmp_path / "out/index.json").unlink()
    assert cli.main(["join", str(tmp_path / "out"), "--out", str(tmp_path / "a.json"), "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["left_out"], told["is_whole"], told["images"]) == (3, False, 4)
    paths = write(tmp_path / "out", shard(0), shard(1))
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for sources in ([tmp_path / "out"], paths):
        for name in ("index.json", "shard-000000.json", "shard-000007.json"):
            assert cli.main(["join", *map(str, sources), "--out", str(tmp_path / "out" / name)]) == 1
            assert "to be a file of its own" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_shards_at_an_address_are_to_be_copied_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["join", "s3://bucket/shards", "--out", str(tmp_path / "a.json")])
    assert caught.value.code == 2
    assert "got the address 's3://bucket/shards': copy its shards and their index into a" in capsys.readouterr().err


def test_a_shard_that_the_index_names_and_that_is_gone_is_made_by_the_run(tmp_path: Path) -> None:
    paths = write(tmp_path / "out", *map(shard, range(3)))
    paths[1].unlink()
    with pytest.raises(
        CocoError, match=r"000001.json: expected this shard.* 1 of 3 are not there; run `ovdiff segment"
    ):
        join_shards([tmp_path / "out"], tmp_path / "a.json")
