"""Frozen features of all views, in half precision on disk, memory-mapped: a step reads only its batch (C.6).

Each kind of feature is one file of rows, a row a view. Rows are appended, and ``views.jsonl`` last, so a process that
was killed continues after the last whole view.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from converters.files.atomic import write_whole
from ovdiff.odise.captioner import ImplicitCaptioner
from ovdiff.odise.encoding import WindowEncoder

_AT_ONCE = 8
_VIEWS, _SHAPES = "views.jsonl", "shapes.json"
_PARTS = ("maps", "latents", "embeddings")


@dataclass(frozen=True)
class View:
    """One view of an example: its windows, and what is to be found in it.

    Attributes:
        windows: (N, S, S, 3) uint8; every view of a store has equally many.
        segments: (P, P) uint8, numbered from 1, 0 is not annotated.
        names: the label of each segment.
        captions: sentences about the view.
    """

    windows: NDArray[np.uint8]
    segments: NDArray[np.uint8]
    names: list[int]
    captions: list[str]


@dataclass(frozen=True)
class Batch:
    """Some views as a step reads them.

    Attributes:
        maps: the VAE's taps (B * N, C, h, w).
        unet: the UNet's taps, or ``None`` if they must be made from the latents.
        latents: (B * N, C, h, w).
        embeddings: (B * N, P), what the captioner reads.
        segments: (B, P, P) uint8.
        names: the label of each segment of each view.
        captions: the sentences about each view.
    """

    maps: list[Tensor]
    unet: list[Tensor] | None
    latents: Tensor
    embeddings: Tensor
    segments: Tensor
    names: list[list[int]]
    captions: list[list[str]]


class FeatureStore:
    """The features of views in a folder, which belongs to one process at a time."""

    def __init__(self, folder: Path) -> None:
        """Open a folder, which may be empty or not exist."""
        self._folder = folder
        self._rows = _whole_lines(folder / _VIEWS)
        self._shapes: dict[str, list[list[int]]] = {}
        if self._rows:
            self._shapes = json.loads((folder / _SHAPES).read_text("utf-8"))
        self._arrays: dict[str, NDArray[np.float16]] = {}

    def __len__(self) -> int:
        """Return the number of views that are stored."""
        return len(self._rows)

    def size_bytes(self) -> int:
        """Return the size of the folder's files."""
        return sum(file.stat().st_size for file in self._folder.iterdir()) if self._folder.is_dir() else 0

    def fill(
        self, view: Callable[[int], View], count: int, encoder: WindowEncoder, report: Callable[[float], None]
    ) -> None:
        """Encode views until ``count`` are stored.

        Args:
            view: makes a view by its number, always the same.
            count: how many views the store shall have.
            encoder: the frozen models.
            report: called with the fraction done.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._truncate()
        while (done := len(self._rows)) < count:
            views = [view(number) for number in range(done, min(done + _AT_ONCE, count))]
            frozen = encoder.frozen(np.concatenate([each.windows for each in views]))
            parts = {"maps": frozen.maps, "latents": [frozen.latents], "embeddings": [frozen.embeddings]}
            if not self._rows:
                self._shapes = {name: [list(part.shape[1:]) for part in found] for name, found in parts.items()}
                write_whole(self._folder / _SHAPES, json.dumps(self._shapes).encode())
            for name, found in parts.items():
                _append(self._folder / f"{name}.f16", _rows_of(found, len(views)))
            _append(self._folder / "segments.u8", np.stack([each.segments for each in views]).reshape(len(views), -1))
            rows = [
                {
                    "names": each.names,
                    "captions": each.captions,
                    "windows": len(each.windows),
                    "side": len(each.segments),
                }
                for each in views
            ]
            with (self._folder / _VIEWS).open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
            self._rows += rows
            report(len(self._rows) / count)
        self._arrays = {}

    def fill_unet(
        self, encoder: WindowEncoder, captioner: ImplicitCaptioner | None, key: str, report: Callable[[float], None]
    ) -> None:
        """Make the UNet's taps of all views under a condition that no longer changes, and use them from now on.

        Args:
            encoder: the frozen models.
            captioner: gives the condition; with ``None`` it is the empty text.
            key: identifies the condition, and names the file.
            report: called with the fraction done.
        """
        path = self._folder / f"unet-{key}.f16"
        self._arrays.pop("unet", None)
        done = None
        while done is None or done < len(self):
            numbers = np.arange(done or 0, min((done or 0) + _AT_ONCE, len(self)))
            batch = self.batch(numbers)
            with torch.inference_mode():
                found = encoder.unet(batch.latents.float(), batch.embeddings.float(), captioner)
            rows = _rows_of(found, len(numbers))
            self._shapes["unet"] = [list(part.shape[1:]) for part in found]
            if done is None:  # The first views tell how long a row is, and so how many rows an earlier run wrote.
                done = path.stat().st_size // rows[0].nbytes if path.exists() else 0
                _cut(path, done * rows[0].nbytes)
                continue
            _append(path, rows)
            done += len(numbers)
            report(done / len(self))
        self._arrays["unet"] = self._open(path, np.float16)

    def batch(self, views: NDArray[np.intp]) -> Batch:
        """Read some views."""
        chosen = [self._rows[view] for view in views.tolist()]
        parts = {part: self._tensors(part, views) for part in _PARTS}
        side = chosen[0]["side"]
        segments = self._array("segments", "u8")[views].reshape(-1, side, side)
        return Batch(
            parts["maps"],
            self._tensors("unet", views) if "unet" in self._arrays else None,
            parts["latents"][0],
            parts["embeddings"][0],
            torch.from_numpy(segments),
            [row["names"] for row in chosen],
            [row["captions"] for row in chosen],
        )

    def _tensors(self, part: str, views: NDArray[np.intp]) -> list[Tensor]:
        rows = torch.from_numpy(self._array(part, "f16")[views])
        windows, shapes = self._rows[0]["windows"], self._shapes[part]
        sizes = [windows * int(np.prod(shape)) for shape in shapes]
        pieces = torch.split(rows, sizes, dim=1)
        return [piece.reshape(len(rows) * windows, *shape) for piece, shape in zip(pieces, shapes, strict=True)]

    def _array(self, part: str, kind: str) -> NDArray[Any]:
        if part not in self._arrays:
            self._arrays[part] = self._open(self._folder / f"{part}.{kind}", np.uint8 if kind == "u8" else np.float16)
        return self._arrays[part]

    def _open(self, path: Path, dtype: Any) -> NDArray[Any]:
        if not path.stat().st_size:  # Nothing can be mapped of an empty file: no captioner, no embeddings.
            return np.zeros((len(self), 0), dtype)
        return np.memmap(path, dtype, mode="r").reshape(len(self), -1)

    def _truncate(self) -> None:
        """Cut off what a killed process wrote of views that are not whole."""
        lines = "".join(json.dumps(row) + "\n" for row in self._rows)
        write_whole(self._folder / _VIEWS, lines.encode())
        sizes = {f"{part}.f16": 2 * self._row_cells(part) for part in _PARTS} if self._rows else {}
        if self._rows:
            sizes["segments.u8"] = self._rows[0]["side"] ** 2
        for path in self._folder.iterdir():
            if path.suffix in (".f16", ".u8"):
                _cut(path, len(self._rows) * sizes.get(path.name, 0))

    def _row_cells(self, part: str) -> int:
        return int(self._rows[0]["windows"]) * sum(int(np.prod(shape)) for shape in self._shapes[part])


def _rows_of(maps: Sequence[Tensor], views: int) -> NDArray[np.float16]:
    rows = torch.cat([part.reshape(views, -1) for part in maps], dim=1)
    return rows.half().cpu().numpy()


def _append(path: Path, rows: NDArray[Any]) -> None:
    with path.open("ab") as file:
        file.write(np.ascontiguousarray(rows).tobytes())


def _cut(path: Path, size: int) -> None:
    if path.exists():
        with path.open("r+b") as file:
            file.truncate(size)


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    def lines() -> Iterator[dict[str, Any]]:
        with path.open(encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)

    return list(lines()) if path.exists() else []
