"""The shards that `ovdiff segment --manifest` wrote, joined into one COCO file; COCO files or Parquet tables.

    OUT/index.json, OUT/shard-000000.json, OUT/shard-000001.json ...   -> one COCO file

The `info` of a shard says which rows of the manifest it holds; by that shards are put in order, and one that is missing
is noticed. Ids are unique over all shards, so they stay as they are. One shard is in memory at a time, of a Parquet
table a few rows; images and annotations wait on the disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.datasets.coco_index import read_coco
from converters.datasets.rle_table import read_rle_table_head, rle_table_to_coco
from converters.errors import CocoError, OutputError
from converters.files.json_stream import read_json_member
from converters.files.json_values import Json, JsonObject
from converters.files.output import JsonList, write_json

INDEX = "index.json"
SUFFIXES = (".json", ".parquet")
_OF_A_SHARD = ("rows", "counts", "categories", "left_out")


@dataclass(frozen=True)
class Joined:
    """What was joined.

    Attributes:
        shards: how many shards.
        images: how many images.
        annotations: how many annotations.
        left_out: how many rows of the manifest have no result, as the shards say.
        is_whole: whether an index says that these shards are all.
    """

    shards: int
    images: int
    annotations: int
    left_out: int
    is_whole: bool


def join_shards(sources: Sequence[Path], out: Path) -> Joined:
    """Write one COCO file of shards.

    Args:
        sources: a folder of shards, or the files of shards in any order.
        out: the COCO file.

    Raises:
        CocoError: a file is no shard, shards are of different runs or hold the same rows, or rows between them are
            missing.
        OutputError: the file cannot be written.
        OSError: a shard cannot be read.
    """
    files, is_whole = _files(sources)
    heads = sorted(((_head(file), file) for file in files), key=lambda found: found[0]["info"]["rows"]["first"])
    _require_one_run(heads)
    folder = out.parent if out.parent.is_dir() else None
    images, annotations = JsonList(folder), JsonList(folder)
    for _, file in heads:
        for image, found in _images(file):
            images.append(image)
            for annotation in found:
                annotations.append(annotation)
    head = heads[0][0]
    info = {key: value for key, value in head["info"].items() if key not in _OF_A_SHARD}
    dataset = {"info": info, "images": images, "categories": head["categories"], "annotations": annotations}
    write_json(dataset, out)
    left_out = sum(int(found["info"]["counts"]["left_out"]) for found, _ in heads)
    return Joined(len(heads), len(images), len(annotations), left_out, is_whole)


def require_no_shard(out: Path, sources: Sequence[Path]) -> None:
    """Refuse to write over what belongs to the shards: one of them, or their index.

    Raises:
        OutputError: a name among the shards is asked for that a run gives.
    """
    folders = {(source if source.is_dir() else source.parent).resolve() for source in sources}
    if out.resolve().parent in folders and (out.name == INDEX or out.name.startswith("shard-")):
        raise OutputError(
            f"expected {out} to be a file of its own, got a name that the shards' run gives: name another"
        )


def _files(sources: Sequence[Path]) -> tuple[list[Path], bool]:
    """Return the files of the shards, and whether an index says that they are all."""
    if len(sources) != 1 or not sources[0].is_dir():
        return list(sources), False
    folder = sources[0]
    if (folder / INDEX).is_file():
        listed = read_json_member(folder / INDEX, "shards")
        if not isinstance(listed, list) or not all(isinstance(each, dict) and "file" in each for each in listed):
            raise CocoError(f"{folder / INDEX}: expected a list of files under 'shards'; segment again, which mends it")
        files = [folder / Path(str(each["file"])).name for each in listed]
        if missing := [file for file in files if not file.is_file()]:
            raise CocoError(
                f"{missing[0]}: expected this shard, which the index names, and {len(missing)} of {len(files)} are not "
                "there; run `ovdiff segment --manifest` again, which makes what is missing"
            )
        return files, True
    files = sorted(file for file in folder.glob("shard-*") if file.suffix in SUFFIXES)
    if not files:
        raise CocoError(f"{folder}: expected shards that `ovdiff segment --manifest` wrote, got a folder without any")
    return files, False


def _head(file: Path) -> JsonObject:
    with _naming(file):
        if file.suffix == ".parquet":
            with file.open("rb") as stream:
                head = read_rle_table_head(stream)
        else:
            head = {name: read_json_member(file, name) for name in ("info", "categories")}
    info: Any = head.get("info")
    try:
        rows = info["rows"]
        usable = 0 < rows["first"] <= rows["last"] and isinstance(info["counts"]["left_out"], int)
    except (KeyError, TypeError):
        usable = False
    if not usable or not isinstance(head.get("categories"), list):
        raise CocoError(
            f"{file}: expected a shard of `ovdiff segment --manifest`, got {json.dumps(info):.80} as its info"
        )
    return head


def _images(file: Path) -> Iterator[tuple[Json, list[Any]]]:
    with _naming(file):
        if file.suffix == ".parquet":
            with file.open("rb") as stream:
                yield from rle_table_to_coco(stream)[1]
            return
        dataset = read_coco(file)
        of_image: dict[Any, list[Any]] = {}
        for annotation in dataset["annotations"]:
            of_image.setdefault(annotation.get("image_id"), []).append(annotation)
        for image in dataset["images"]:
            yield image, of_image.get(image.get("id"), [])


def _require_one_run(heads: Sequence[tuple[JsonObject, Path]]) -> None:
    first, first_file = heads[0]
    expected = 1
    for head, file in heads:
        if (head["info"].get("model_version"), head["categories"]) != (
            first["info"].get("model_version"),
            first["categories"],
        ):
            raise CocoError(f"{file}: expected a shard of the run that made {first_file}, got one of another run")
        rows = head["info"]["rows"]
        if rows["first"] < expected:
            raise CocoError(f"{file}: expected rows from {expected} on, got {rows['first']}: some would come twice")
        if rows["first"] > expected:
            raise CocoError(
                f"{file}: expected rows from {expected} on, got {rows['first']}: a shard is missing; run "
                "`ovdiff segment --manifest` again, which makes what is missing"
            )
        expected = rows["last"] + 1


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Name the file in errors that do not."""
    try:
        yield
    except CocoError as error:
        if str(file) in str(error):
            raise
        raise CocoError(f"{file}: {error}") from error
