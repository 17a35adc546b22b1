"""The results of a manifest: a folder of shards, each a whole file of the results of N rows, and an index of them.

    OUT/shard-000000.json      a complete COCO file of rows 1 to N; or .parquet (`converters.datasets.rle_table`)
    OUT/shard-000001.json      rows N + 1 to 2 N
    OUT/index.json             which shards belong to the run, what is in them, and the rows that have no result

A shard's `info` says which rows it holds, by a hash of what the manifest says of them, and which run made it. So no
other record is kept: a shard that is there is finished, and the index, written last, follows from the shards. A shard's
bytes follow from its rows, their images and the run alone, in whatever order shards are made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backend.command.files import require_writable
from backend.errors import RequestError, UsageError
from converters.datasets.rle_table import coco_to_rle_table, read_rle_table_head, require_library
from converters.errors import ConverterError
from converters.files.json_stream import read_json_member
from converters.files.json_values import Json, JsonObject
from converters.files.output import JsonDocument, json_document
from ovdiff.storage import is_stored
from ovdiff.storage.files import write_whole

Format = Literal["coco", "parquet"]
SUFFIXES: Mapping[Format, str] = {"coco": ".json", "parquet": ".parquet"}
INDEX = "index.json"
_SHARD = re.compile(r"shard-(\d{6,})\.(json|parquet)")


@dataclass(frozen=True)
class ShardFolder:
    """A folder of shards, here or at an address of a storage.

    Attributes:
        path: the folder, as `ovdiff.storage.place` gives it; it is made when the first shard is written.
        format: what the shards are.
    """

    path: Path
    format: Format

    def name(self, index: int) -> str:
        """Return the name of a shard's file."""
        return f"shard-{index:06}{SUFFIXES[self.format]}"

    def require_usable(self) -> None:
        """Check that the folder can be listed and written, and its format too, before anything is built.

        Raises:
            UsageError: there is something else in the folder's place, or shards of the other format; or nothing can be
                written there.
            CocoError: the library of the format is not installed.
            StorageError: a storage refuses, or is away for too long.
        """
        if self.format == "parquet":
            require_library()
        try:
            self.shards()
        except OSError as error:
            raise UsageError(
                f"--out is {str(self.path)!r}, which cannot be listed: {error.strerror or error}. Name a folder, or "
                "what is not there yet."
            ) from error
        if not is_stored(self.path):
            require_writable("--out", self.path / INDEX)

    def shards(self) -> frozenset[int]:
        """Return the numbers of the shards that are there; a storage is asked a question for each thousand.

        Raises:
            UsageError: the folder holds shards of the other format.
            StorageError: a storage refuses, or is away for too long.
        """
        try:
            names = [file.name for file in self.path.iterdir()]
        except FileNotFoundError:
            return frozenset()
        found = [match for name in names if (match := _SHARD.fullmatch(name))]
        if others := [match[0] for match in found if f".{match[2]}" != SUFFIXES[self.format]]:
            raise UsageError(f"{self.path} holds shards of another format ({others[0]}); name a new folder with --out.")
        return frozenset(int(match[1]) for match in found)

    def info(self, index: int) -> JsonObject | None:
        """Return the `info` of a shard, None if its file cannot be used; of a file here its head alone is read.

        Raises:
            StorageError: a storage refuses, or is away for too long.
        """
        path = self.path / self.name(index)
        try:
            if self.format == "coco":
                info = read_json_member(path, "info")
            else:
                with path.open("rb") as file:
                    info = read_rle_table_head(file)["info"]
        except (ConverterError, FileNotFoundError, KeyError):
            return None
        return info if isinstance(info, dict) else None

    def write(self, index: int, dataset: Json) -> None:
        """Write a shard, which appears whole or not at all.

        Raises:
            RequestError: it cannot be written.
            StorageError: a storage refuses, or is away for too long.
        """
        if self.format == "coco":
            data = "".join(json_document(dataset)).encode("utf-8", "surrogatepass")
        else:
            data = coco_to_rle_table(dataset)
        self._put(self.name(index), data)

    def index(self) -> JsonObject | None:
        """Return what the index of an earlier run says of the run; None if there is no index, or a damaged one."""
        try:
            run = read_json_member(self.path / INDEX, "run")
        except (ConverterError, FileNotFoundError):
            return None
        return run if isinstance(run, dict) else None

    def write_index(self, document: JsonDocument) -> None:
        """Write the index, whole or not at all.

        Raises:
            RequestError: it cannot be written.
            StorageError: a storage refuses, or is away for too long.
        """
        self._put(INDEX, "".join(json_document(document)).encode("utf-8", "surrogatepass"))

    def remove_index(self) -> None:
        """Remove the index, because a shard is about to change."""
        (self.path / INDEX).unlink(missing_ok=True)

    def _put(self, name: str, data: bytes) -> None:
        path = self.path / name
        try:
            write_whole(path, data)
        except OSError as error:
            raise RequestError(f"{path} cannot be written: {error.strerror or error}.") from error
