"""Encodings of images on disk: the level behind the cache in memory, for later runs and for other processes.

::

    <bank>/encodings/<key>.safetensors    "working", "embedding", and "<extractor>.<number>" for each batch of windows

A key is the digest of the image's pixels and of everything that shapes an encoding
(:attr:`ovdiff.bank.recipe.Recipes.encodings`), so no file is ever out of date. The header of a file says which windows
its batches have, and holds a checksum of all the rest.

The folder is only a cache: whatever goes wrong with it costs an encoding and fails no segmentation. A file appears
whole or not at all. A damaged file is logged, counts as absent, and is replaced. A file's time of change says when it
was last used, and the files that were unused for longest are deleted when the folder outgrows its budget. The folder is
locked while files are added or deleted, so several processes may share it.

In a storage nobody is told when a file was used, so the oldest files are deleted first. The folder is looked at only
after each sixteenth of its budget, so it may be that much larger. A storage that is away is asked once: the image is
encoded again.
"""

import contextlib
import json
import logging
import math
import os
import threading
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from ovdiff.errors import StorageError
from ovdiff.segmenting.encoding import EncodedImage, WindowFeatures
from ovdiff.segmenting.windows import Window
from ovdiff.storage import is_stored, place
from ovdiff.storage.files import delete_left_overs, locked, write_whole
from ovdiff.storage.stored_path import StoredPath

_SUFFIX = ".safetensors"
_DESCRIPTION = "encoding"  # One text, because safetensors writes several in a random order.
_WORKING, _EMBEDDING = "working", "embedding"
_SOON = 4  # encodings that wait to be written before a next group; each takes the memory of an image's features
_LOOKS = 16  # how often a folder in a storage is looked at while it is filled once
_LENGTH_BYTES = 8  # of the header's length, which a safetensors file begins with
_log = logging.getLogger(__name__)


class EncodingStore:
    """A folder of encodings within a bound on their bytes. Safe for several threads and processes."""

    def __init__(self, folder: Path, max_mib: int) -> None:
        """Use ``folder``, which is created when the first encoding is kept; at most ``max_mib`` MiB, 0 keeps none."""
        self.folder, self._max_bytes = _impatient(place(folder)), max_mib << 20
        self._told, self._changing = False, threading.Condition()
        self._waiting, self._writing = 0, ThreadPoolExecutor(1, "ovdiff-encodings")
        self._written = self._max_bytes  # since the folder was last looked at, in bytes; the first time it is

    @property
    def keeps(self) -> bool:
        """Whether encodings are kept at all."""
        return self._max_bytes > 0

    def get(self, key: str) -> EncodedImage | None:
        """Return the encoding of a key and mark it as used; ``None`` if it is not stored whole. Reads no other file."""
        if not self.keeps:
            return None
        path = self._path(key)
        try:
            data = path.read_bytes()
            if not is_stored(path):
                os.utime(path)
        except FileNotFoundError:  # It was never stored, or another process deletes it just now.
            return None
        except (OSError, StorageError) as error:
            self._tell(f"cannot be read ({error})")
            return None
        try:
            return bytes_to_encoding(data)
        except DamagedEncodingError as error:
            _log.warning("The stored encoding %s is damaged (%s); the image is encoded again.", path, error)
            with contextlib.suppress(OSError, StorageError):  # It is replaced when the image has been encoded.
                path.unlink()
            return None

    def put(self, key: str, encoded: EncodedImage) -> None:
        """Keep an encoding. What was unused for longest is deleted until all fit; nothing is raised if that fails.

        Cost: the writing of all its bytes, until they are on the disk.
        """
        if not self.keeps or self._has(key):
            return
        if encoded.size_bytes() > self._max_bytes:
            needed = math.ceil(encoded.size_bytes() / (1 << 20))
            self._tell(f"are smaller than this image's encoding: set cache.disk_mib to {needed} or more, or to 0")
            return
        data = encoding_to_bytes(encoded.on_the_cpu())
        try:
            self._write(self._path(key), data)
        except (OSError, StorageError) as error:
            self._tell(f"cannot be written ({error})")

    def put_soon(self, key: str, encoded: EncodedImage) -> None:
        """Keep an encoding as :meth:`put` does, in a thread of its own, so that the models do not wait for the disk.

        This returns at once and raises nothing; :meth:`catch_up` waits. A process that ends waits for what was given.
        """
        if not self.keeps:
            return
        self._count_waiting(1)
        try:
            self._writing.submit(self._put_and_tell, key, encoded)
        except RuntimeError as error:  # The process ends.
            self._count_waiting(-1)
            self._tell(f"cannot be written ({error})")

    def catch_up(self) -> None:
        """Wait until few encodings wait to be written, so that memory does not grow. Hold no lock of models."""
        with self._changing:
            self._changing.wait_for(lambda: self._waiting < _SOON)

    def _put_and_tell(self, key: str, encoded: EncodedImage) -> None:
        try:
            self.put(key, encoded)
        except Exception as error:  # noqa: BLE001 — nobody asks for this thread's result
            self._tell(f"cannot be written ({type(error).__name__}: {error})")
        finally:
            self._count_waiting(-1)

    def _count_waiting(self, more: int) -> None:
        with self._changing:
            self._waiting += more
            self._changing.notify_all()

    def _write(self, path: Path, data: bytes) -> None:
        if is_stored(path):
            if self._is_to_look(len(data)):
                self._make_room(self._max_bytes - len(data))
            write_whole(path, data)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder):
            delete_left_overs(self.folder)
            self._make_room(self._max_bytes - len(data))
            write_whole(path, data)

    def _is_to_look(self, more: int) -> bool:
        """Count bytes that are about to be written; return whether the folder is to be looked at before."""
        with self._changing:
            self._written += more
            if self._written * _LOOKS <= self._max_bytes:
                return False
            self._written = 0
            return True

    def _has(self, key: str) -> bool:
        try:
            return self._path(key).exists()
        except StorageError as error:
            self._tell(f"cannot be looked at ({error})")
            return True  # There is no use in writing to it.

    def size_bytes(self) -> int:
        """Return the bytes of all files."""
        return sum(file.size for file in self._files())

    def _make_room(self, limit: int) -> None:
        """Delete the files that were unused for longest until the others have at most ``limit`` bytes."""
        files = self._files()
        total = sum(file.size for file in files)
        for file in sorted(files, key=lambda file: file.used_ns):
            if total <= limit:
                return
            file.path.unlink(missing_ok=True)
            total -= file.size

    def _files(self) -> list["_File"]:
        if is_stored(self.folder):
            listed = cast(StoredPath, self.folder).listed().items()
            return [
                _File(cast(Path, path), status.st_size or 0, status.st_mtime_ns)
                for path, status in listed
                if path.suffix == _SUFFIX
            ]
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX):
                    with contextlib.suppress(FileNotFoundError):  # Another process deleted it meanwhile.
                        status = entry.stat()
                        found.append(_File(Path(entry.path), status.st_size, status.st_mtime_ns))
        return found

    def _tell(self, what: str) -> None:
        """Log once that the store is of no use, because it would be said for each image."""
        with self._changing:
            is_told, self._told = self._told, True
        if not is_told:
            _log.warning("Encodings in %s, of %d MiB, %s. Images are segmented all the same.", *self._place(), what)

    def _place(self) -> tuple[Path, int]:
        return self.folder, self._max_bytes >> 20

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"


@dataclass(frozen=True)
class _File:
    """A stored file: its size, and when it was last used, in ns since 1970."""

    path: Path
    size: int
    used_ns: int


def _impatient(folder: Path) -> Path:
    """Return a folder that is asked once if it is in a storage: to encode an image again is faster than to wait."""
    return cast(Path, StoredPath(str(folder), patience_s=0.0)) if is_stored(folder) else folder


class DamagedEncodingError(Exception):
    """Bytes are no whole encoding; the message says why."""


def encoding_to_bytes(encoded: EncodedImage) -> bytes:
    """Return the bytes of a safetensors file. All values keep their dtype, so nothing is lost."""
    tensors = {_WORKING: torch.from_numpy(np.array(encoded.working))}  # A copy: the array may be read-only.
    if encoded.embedding is not None:
        tensors[_EMBEDDING] = encoded.embedding.cpu().contiguous()
    batches: dict[str, list[dict[str, Any]]] = {}
    for name, entries in encoded.features.items():
        orders = [_memory_order(batch.features) for batch in entries]
        batches[name] = [
            {"windows": batch.windows, "order": order} for batch, order in zip(entries, orders, strict=True)
        ]
        for number, (batch, order) in enumerate(zip(entries, orders, strict=True)):
            tensors[f"{name}.{number}"] = batch.features.permute(order).contiguous()
    description = json.dumps({"size_hw": encoded.size_hw, "batches": batches})
    return save_tensors(tensors, {_DESCRIPTION: f"{_checksum(description, tensors)} {description}"})


def bytes_to_encoding(data: bytes) -> EncodedImage:
    """Return the encoding that :func:`encoding_to_bytes` made bytes of.

    Raises:
        DamagedEncodingError: the bytes are not whole, or not what was written.
    """
    try:
        tensors = load_tensors(data)
        checksum, _, description = _header(data)[_DESCRIPTION].partition(" ")
        if _checksum(description, tensors) != checksum:
            raise DamagedEncodingError("it does not match its checksum")
        values = json.loads(description)
        features = {
            name: tuple(_batch(tensors[f"{name}.{number}"], **entry) for number, entry in enumerate(entries))
            for name, entries in values["batches"].items()
        }
        height, width = values["size_hw"]
        return EncodedImage((height, width), tensors[_WORKING].numpy(), features, tensors.get(_EMBEDDING))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DamagedEncodingError(f"{type(error).__name__}: {error}") from error


def _batch(features: Tensor, windows: list[list[int]], order: list[int]) -> WindowFeatures:
    axes = sorted(range(len(order)), key=lambda axis: order[axis])
    return WindowFeatures(tuple(Window(*window) for window in windows), features.permute(axes))


def _memory_order(features: Tensor) -> list[int]:
    """Return the axes in the order in which they lie in memory, the outermost first.

    safetensors holds arrays in one order alone, and a matrix product of the same numbers in another order differs in
    the last bit. So the order is written down, that loaded features give exactly the scores that new ones give.
    """
    strides = features.stride()
    return sorted(range(features.ndim), key=lambda axis: -strides[axis])


def _header(data: bytes) -> dict[str, str]:
    """Return the texts in a safetensors header; `load` gives the tensors alone."""
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    found: dict[str, str] = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])["__metadata__"]
    return found


def _checksum(description: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the CRC-32 of a description and of all tensors with their names, dtypes and shapes.

    It finds damage and no malice; SHA-256 would take as long as reading the file.
    """
    total = zlib.crc32(description.encode())
    for name, tensor in sorted(tensors.items()):
        total = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), total)
        total = zlib.crc32(_flat(tensor), total)
    return f"{total:08x}"


def _flat(tensor: Tensor) -> Any:
    """Return a tensor's bytes without a copy."""
    return tensor.contiguous().flatten().view(torch.uint8).numpy().data
