"""Frozen features of all views, in half precision on disk, memory-mapped: a step reads only its batch (C.6).

Each kind of feature is one file of rows, a row a view. Rows are appended, and ``views.jsonl`` last, so a process that
was killed continues after the last whole views. ``key.json`` says what made them: under another key all is made anew.
It also marks the folder as ours: where it is not, no file is deleted.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from converters.files.atomic import write_whole
from ovdiff.errors import TrainingError
from ovdiff.odise.captioner import ImplicitCaptioner
from ovdiff.odise.encoding import WindowEncoder

_AT_ONCE = 8
_VIEWS, _SHAPES, _KEY = "views.jsonl", "shapes.json", "key.json"
_PARTS = ("maps", "latents", "embeddings")
_OWN = (*(f"{part}.f16" for part in _PARTS), "segments.u8", _VIEWS, _SHAPES, _KEY)
_MARK = "features of ovdiff odise train"
"""The entry of ``key.json`` that holds the key."""
_OF_TAPS = {
    "maps": "the VAE's layers in taps.vae_encoder and taps.vae_decoder",
    "latents": "the VAE's latents",
    "embeddings": "CLIP's embeddings",
    "unet": "the UNet's layers in taps.unet",
}


@dataclass(frozen=True)
class View:
    """One view of an example: its windows, and what is to be found in it.

    Attributes:
        windows: (N, S, S, 3) uint8; every view of a store has equally many.
        segments: (P, P) uint8, numbered from 1, 0 is not annotated.
        names: the label of each segment.
        captions: sentences about the view.
        image: the number of the image that it shows.
        partial: whether pixels that are not annotated may show anything.
    """

    windows: NDArray[np.uint8]
    segments: NDArray[np.uint8]
    names: list[int]
    captions: list[str]
    image: int
    partial: bool = False


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
        captions: the sentences about each view, of the views of all processes that train together.
        images: the number of the image of each view, of the same views.
        partial: whether pixels of a view that are not annotated may show anything.
    """

    maps: list[Tensor]
    unet: list[Tensor] | None
    latents: Tensor
    embeddings: Tensor
    segments: Tensor
    names: list[list[int]]
    captions: list[list[str]]
    images: list[int]
    partial: list[bool]

    def on(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        unet = None if self.unet is None else [each.to(device) for each in self.unet]
        return replace(
            self,
            maps=[each.to(device) for each in self.maps],
            unet=unet,
            latents=self.latents.to(device),
            embeddings=self.embeddings.to(device),
            segments=self.segments.to(device),
        )


@dataclass(frozen=True)
class EncodedViews:
    """Some views as they are stored.

    Attributes:
        shapes: the shapes of each kind of feature.
        features: of each kind, half precision, a row a view.
        segments: uint8, a row a view.
        lines: what ``views.jsonl`` says of each view.
    """

    shapes: dict[str, list[list[int]]]
    features: dict[str, NDArray[np.float16]]
    segments: NDArray[np.uint8]
    lines: list[dict[str, Any]]


Mapped = Callable[[Iterable[range]], Iterator[EncodedViews]]
"""Encodes batches of views, given by their numbers, in order: by other processes, such as those of a cluster."""


def encode_views(views: Sequence[View], encoder: WindowEncoder) -> EncodedViews:
    """Run the frozen models on some views. What a view is encoded with changes its features by a rounding.

    Raises:
        TrainingError: a feature is too large.
    """
    frozen = encoder.frozen(np.concatenate([each.windows for each in views]))
    parts = {"maps": frozen.maps, "latents": [frozen.latents], "embeddings": [frozen.embeddings]}
    return EncodedViews(
        {name: [list(part.shape[1:]) for part in found] for name, found in parts.items()},
        {name: _rows_of(name, found, len(views)) for name, found in parts.items()},
        np.stack([each.segments for each in views]).reshape(len(views), -1),
        [
            {
                "names": each.names,
                "captions": each.captions,
                "image": each.image,
                "windows": len(each.windows),
                "side": len(each.segments),
                "partial": each.partial,
            }
            for each in views
        ],
    )


class FeatureStore:
    """The features of views in a folder, which belongs to one process at a time."""

    def __init__(self, folder: Path, key: str = "") -> None:
        """Open a folder, which may be empty or not exist.

        Args:
            folder: where the features are.
            key: what makes them: weights, settings, images, annotations. Features of another key do not count.
        """
        self._folder, self._key = folder, key
        self.stale = self._key_of_folder() not in (None, key)
        self._shapes: dict[str, list[list[int]]] = {}
        self._rows: list[dict[str, Any]] = []
        rows = _whole_lines(folder / _VIEWS) if self._is_ours() and not self.stale else []
        if rows and (folder / _SHAPES).exists():
            self._shapes = json.loads((folder / _SHAPES).read_text("utf-8"))
            self._rows = rows[: self._whole_rows(rows[0])]
        self._arrays: dict[str, NDArray[Any]] = {}

    def __len__(self) -> int:
        """Return the number of views that are stored."""
        return len(self._rows)

    def size_bytes(self) -> int:
        """Return the size of the folder's features, which can be deleted."""
        return sum(file.stat().st_size for file in self._own_files()) if self._is_ours() else 0

    @property
    def has_unet(self) -> bool:
        """Whether the UNet's taps are stored, under a condition that no longer changes."""
        return "unet" in self._arrays

    def captions(self, views: NDArray[np.intp]) -> list[list[str]]:
        """Return the sentences about some views."""
        return [self._rows[view]["captions"] for view in views.tolist()]

    def images(self, views: NDArray[np.intp]) -> list[int]:
        """Return the numbers of the images that some views show."""
        return [self._rows[view]["image"] for view in views.tolist()]

    def fill(
        self,
        view: Callable[[int], View],
        count: int,
        encoder: WindowEncoder,
        report: Callable[[float], None],
        at_once: int = _AT_ONCE,
        mapped: Mapped | None = None,
    ) -> None:
        """Encode views until ``count`` are stored.

        Args:
            view: makes a view by its number, always the same.
            count: how many views the store shall have.
            encoder: the frozen models.
            report: called with the fraction done.
            at_once: so many views are encoded at once.
            mapped: encodes them elsewhere, in batches of the same views, so that the files are the same to the byte.

        Raises:
            TrainingError: the folder holds files of others under our names, or a feature is too large.
            OSError: the disk is full, or the folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._truncate()
        batches = (range(first, min(first + at_once, count)) for first in range(len(self._rows), count, at_once))
        here = (encode_views([view(number) for number in numbers], encoder) for numbers in batches)
        for encoded in here if mapped is None else mapped(batches):
            self._append_views(encoded)
            report(len(self._rows) / count)
        self._arrays = {}

    def _append_views(self, encoded: EncodedViews) -> None:
        if not self._rows:
            self._shapes = encoded.shapes
            write_whole(self._folder / _SHAPES, json.dumps(self._shapes).encode())
        for name, rows in encoded.features.items():
            _append(self._folder / f"{name}.f16", rows)
        _append(self._folder / "segments.u8", encoded.segments)
        # In one go: what a view is encoded with changes its features by a rounding, so a batch is there whole or not.
        lines = "".join(json.dumps(line) + "\n" for line in encoded.lines)
        _append_bytes(self._folder / _VIEWS, lines.encode())
        self._rows += encoded.lines

    def fill_unet(
        self,
        encoder: WindowEncoder,
        captioner: ImplicitCaptioner | None,
        key: str,
        report: Callable[[float], None],
        at_once: int = _AT_ONCE,
    ) -> None:
        """Make the UNet's taps of all views under a condition that no longer changes, and use them from now on.

        Those under other conditions are deleted if some must be made: the disk has room for one condition.

        Args:
            encoder: the frozen models.
            captioner: gives the condition; with ``None`` it is the empty text.
            key: identifies the condition, and names the file.
            report: called with the fraction done.
            at_once: so many views are encoded at once.

        Raises:
            TrainingError: a feature is too large.
            OSError: the disk is full, or the folder cannot be written.
        """
        path = self._folder / f"unet-{key}.f16"
        self._arrays.pop("unet", None)
        done = None
        while done is None or done < len(self):
            numbers = np.arange(done or 0, min((done or 0) + at_once, len(self)))
            batch = self.batch(numbers).on(encoder.taps.empty_text.device)
            with torch.inference_mode():
                found = encoder.unet(batch.latents.float(), batch.embeddings.float(), captioner)
            rows = _rows_of("unet", found, len(numbers))
            self._shapes["unet"] = [list(part.shape[1:]) for part in found]
            if done is None:  # The first views tell how long a row is, and so how many rows an earlier run wrote.
                done = min(path.stat().st_size // rows[0].nbytes if path.exists() else 0, len(self))
                done = done if done == len(self) else done // at_once * at_once
                _cut(path, done * rows[0].nbytes)
                for other in self._folder.glob("unet-*.f16") if done < len(self) else ():
                    if other != path:
                        other.unlink()
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
            self._tensors("unet", views) if self.has_unet else None,
            parts["latents"][0],
            parts["embeddings"][0],
            torch.from_numpy(segments),
            [row["names"] for row in chosen],
            self.captions(views),
            self.images(views),
            [row["partial"] for row in chosen],
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
        """Cut off what a killed process wrote of views that are not whole. Without a view all features are deleted."""
        if not self._is_ours() and (others := self._own_files()):
            raise TrainingError(
                f"{self._folder} holds {others[0].name}, which no training has written, or an older one. Name another "
                "folder with --cache, or move that file away."
            )
        if not self._rows:  # Deleted and not emptied: another process may still read them.
            for path in self._own_files():
                path.unlink()
            self.stale = False
        write_whole(self._folder / _KEY, json.dumps({_MARK: self._key}).encode())
        lines = "".join(json.dumps(row) + "\n" for row in self._rows)
        write_whole(self._folder / _VIEWS, lines.encode())
        for name, size in self._row_bytes(self._rows[0]).items() if self._rows else ():
            _cut(self._folder / name, len(self._rows) * size)

    def _whole_rows(self, first: dict[str, Any]) -> int:
        """Return how many rows all files have: after a power cut a file may be shorter than ``views.jsonl`` says."""
        sizes = ((self._folder / name, size) for name, size in self._row_bytes(first).items() if size)
        return min((path.stat().st_size if path.exists() else 0) // size for path, size in sizes)

    def _row_bytes(self, first: dict[str, Any]) -> dict[str, int]:
        windows = int(first["windows"])
        cells = {part: windows * sum(int(np.prod(shape)) for shape in self._shapes[part]) for part in _PARTS}
        return {**{f"{part}.f16": 2 * count for part, count in cells.items()}, "segments.u8": int(first["side"]) ** 2}

    def _key_of_folder(self) -> str | None:
        """Return the key of the stored features, or ``None`` if there are none of ours."""
        try:
            found = json.loads((self._folder / _KEY).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return str(found[_MARK]) if isinstance(found, dict) and _MARK in found else None

    def _is_ours(self) -> bool:
        return self._key_of_folder() is not None

    def _own_files(self) -> list[Path]:
        """Return the files that have a name of ours."""
        found = self._folder.iterdir() if self._folder.is_dir() else ()
        return sorted(path for path in found if path.name in _OWN or path.match("unet-*.f16"))


def _rows_of(kind: str, maps: Sequence[Tensor], views: int) -> NDArray[np.float16]:
    """Return features in half precision, a row a view.

    Raises:
        TrainingError: one is larger than half precision can hold, or no number.
    """
    found = torch.cat([part.reshape(views, -1) for part in maps], dim=1)
    rows = found.half()
    if not bool(torch.isfinite(rows).all()):
        raise TrainingError(
            f"Features of {_OF_TAPS[kind]} reach {found.abs().max().item():g} and cannot be stored: half precision "
            f"ends at {torch.finfo(torch.float16).max:g}. Set the dtype of models.diffusion to float32 if that is no "
            "number, or name other layers in the preset's table [taps]."
        )
    return rows.cpu().numpy()


def _append(path: Path, rows: NDArray[Any]) -> None:
    _append_bytes(path, np.ascontiguousarray(rows).tobytes())


def _append_bytes(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


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
