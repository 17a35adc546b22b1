"""Support images on disk, so that a killed build can go on where it stopped and a person can look at the images.

::

    <folder>/<key>/batch-0000/0000.png      an image, 8-bit RGB
                             /0000.npy      its attribution as recorded: (g, g) float32
                             /batch.json    prompt, seeds, attempts, and the number of refused drawings
                             /checksums.json
                  /masks-<name>/0000.png    foreground white, background grey, other pixels black
                               /checksums.json

A key is the digest of everything that shapes the images, so presets that differ only in proposals, extractors or
prototypes share images. A folder appears whole or not at all. A damaged folder is logged, not used, and replaced.
Never imports torch.
"""

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ovdiff.errors import BankError
from ovdiff.storage import is_stored, place
from ovdiff.storage.files import delete_folder, delete_left_overs
from ovdiff.storage.sealed import keep_sealed, read_sealed

SUPPORT_VERSION = 1
"""The version of the code that draws images and of these files. It is part of every key: raise it if either changes."""

Masks = tuple[NDArray[np.bool_], NDArray[np.bool_]]
"""Foreground and background of one image, each (S, S) bool."""

_KEY = re.compile(r"[0-9a-f]{16,64}")
_VALUES = "batch.json"
_DAMAGED = "Stored support images %s are damaged and are made anew"
_MOST_PX = 1 << 24
_UNREADABLE = (  # what Pillow, numpy and json raise for bytes that nobody expected
    OSError, EOFError, MemoryError, ValueError, SyntaxError, LookupError, TypeError, AttributeError,
    Image.DecompressionBombError,
)  # fmt: skip
_FOREGROUND, _BACKGROUND = 255, 128  # grey levels of stored masks


@dataclass(frozen=True)
class DrawnImage:
    """One support image as it was drawn.

    Attributes:
        number: the image's number within its category.
        seed: the seed of its noise.
        attempt: how many drawings of this number had been refused before.
        image: (S, S, 3) uint8 RGB.
        attribution: (g, g) float32, as recorded, on the latent grid.
    """

    number: int
    seed: int
    attempt: int
    image: NDArray[np.uint8]
    attribution: NDArray[np.float32]


@dataclass(frozen=True)
class DrawnBatch:
    """Images that were drawn together.

    Attributes:
        prompt: the whole text that was drawn.
        images: the images that were not refused.
        left_out: the numbers of which every drawing was refused.
        refused: how many drawings were refused; none of them is kept.
    """

    prompt: str
    images: tuple[DrawnImage, ...]
    left_out: tuple[int, ...] = ()
    refused: int = 0

    @property
    def numbers(self) -> frozenset[int]:
        """The numbers that need no further drawing after this batch: those drawn, and those left out."""
        return frozenset(item.number for item in self.images) | frozenset(self.left_out)


class SupportStore:
    """A folder of support sets. Safe for several threads and processes: batches only ever appear whole."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``; it is created when the first batch is kept."""
        self.folder = place(folder)

    def keys(self) -> tuple[str, ...]:
        """Return the keys of all sets, finished or not, sorted."""
        entries = self.folder.iterdir() if self.folder.is_dir() else ()
        named = (entry for entry in entries if _KEY.fullmatch(entry.name))
        return tuple(sorted(entry.name for entry in named if is_stored(entry) or entry.is_dir()))

    def shelf(self, key: str, masks_key: str) -> "Shelf":
        """Return the shelf of one set. No folder is created yet.

        Args:
            key: the digest of everything that shapes its images.
            masks_key: the digest of everything that turns the images into masks.

        Raises:
            BankError: ``key`` is not a key.
        """
        return Shelf(self._folder(key), masks_key)

    def remove(self, key: str) -> None:
        """Delete a set's images and masks. If there are none, do nothing.

        Raises:
            BankError: ``key`` is not a key.
        """
        delete_left_overs(self.folder)
        delete_folder(self._folder(key))

    def _folder(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise BankError(f"{key!r} is no key of support images; expected 16 to 64 hexadecimal digits.")
        return self.folder / key


class Shelf:
    """The stored images and masks of one support set."""

    def __init__(self, folder: Path, masks_key: str) -> None:
        """Use a set's folder, and of its masks those that were made by the settings behind ``masks_key``."""
        self.folder, self._masks_key = folder, masks_key

    def batches(self) -> tuple[DrawnBatch, ...]:
        """Return the batches that are whole, in the order of their first numbers.

        No number occurs twice, even if two processes with different batch sizes wrote at the same time.
        """
        found: list[DrawnBatch] = []
        seen: set[int] = set()
        for folder in sorted(self.folder.glob("batch-*")):
            files = read_sealed(folder, _DAMAGED)
            batch = None if files is None else _files_to_batch(files)
            if batch is not None and not batch.numbers & seen:
                found.append(batch)
                seen |= batch.numbers
        return tuple(found)

    def keep(self, batch: DrawnBatch) -> None:
        """Store a finished batch. If another process has stored the same batch meanwhile, that one stays.

        Raises:
            BankError: the folder cannot be written.
        """
        self._keep(self.folder / f"batch-{min(batch.numbers):04d}", _batch_to_files(batch))

    def masks(self, drawn: Sequence[DrawnImage]) -> tuple[Masks, ...] | None:
        """Return the masks of images, in the order of the images; ``None`` if they are not stored."""
        files = read_sealed(self._masks_folder(drawn), _DAMAGED)
        if files is None:
            return None
        return tuple(_png_to_masks(files[f"{item.number:04d}.png"]) for item in drawn)

    def keep_masks(self, drawn: Sequence[DrawnImage], masks: Sequence[Masks]) -> None:
        """Store the masks of images, in the order of the images. Foreground and background must be disjoint.

        Raises:
            BankError: the folder cannot be written.
        """
        files = {f"{item.number:04d}.png": _masks_to_png(*pair) for item, pair in zip(drawn, masks, strict=True)}
        self._keep(self._masks_folder(drawn), files)

    def _masks_folder(self, drawn: Sequence[DrawnImage]) -> Path:
        """Return the folder of the images' masks. Its name is a hash of the images, so it never holds others' masks."""
        content = hashlib.sha256(self._masks_key.encode())
        for item in drawn:
            content.update(f"{item.number}".encode())
            content.update(item.image.tobytes())
            content.update(item.attribution.tobytes())
        return self.folder / f"masks-{content.hexdigest()[:16]}"

    def _keep(self, final: Path, files: Mapping[str, bytes]) -> None:
        try:
            delete_left_overs(self.folder)
            keep_sealed(final, files, _DAMAGED)
        except OSError as error:
            raise BankError(
                f"Support images cannot be written to {self.folder}: {error}. Make room there, or make it writable."
            ) from error


def check_support_files(files: Mapping[str, bytes], where: str) -> None:
    """Check that the files of a batch, or of masks, can be read as such. They may come from elsewhere.

    Args:
        files: the files by their names, without checksums.
        where: where they are, for messages.

    Raises:
        BankError: one cannot be read, or is an image of more than 16 million pixels.
    """
    try:
        for name, data in files.items():
            if name.endswith(".png"):
                with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
                    if picture.width * picture.height > _MOST_PX:
                        raise ValueError(f"{name} has {picture.width} x {picture.height} pixels")
        if _VALUES in files:
            _check_batch(_files_to_batch(files))
        else:
            for data in files.values():
                _png_to_masks(data)
    except _UNREADABLE as error:
        raise BankError(f"{where} cannot be read as support images: {error}.") from error


def _check_batch(batch: DrawnBatch) -> None:
    """Raise ValueError if a batch has values or arrays of a kind that is never stored."""
    numbers = [*(value for item in batch.images for value in (item.number, item.seed, item.attempt)), batch.refused]
    if not isinstance(batch.prompt, str) or any(type(number) is not int for number in (*numbers, *batch.left_out)):
        raise ValueError(f"{_VALUES} has a prompt that is no text, or a number, seed, refused or left_out that is none")
    for item in batch.images:
        name, size = f"{item.number:04d}", item.image.shape
        if len(size) != 3 or size[0] != size[1] or size[2] != 3 or item.image.dtype != np.uint8:
            raise ValueError(f"{name}.png is of {size} pixels; expected a square of RGB")
        grid = item.attribution
        if not isinstance(grid, np.ndarray) or grid.ndim != 2 or grid.dtype != np.float32:
            raise ValueError(f"{name}.npy is no array of (g, g) float32")


def _batch_to_files(batch: DrawnBatch) -> dict[str, bytes]:
    files = {}
    for item in batch.images:
        files[f"{item.number:04d}.png"] = _image_to_png(item.image)
        array = io.BytesIO()
        np.save(array, item.attribution)
        files[f"{item.number:04d}.npy"] = array.getvalue()
    values = {
        "prompt": batch.prompt,
        "images": [{"number": item.number, "seed": item.seed, "attempt": item.attempt} for item in batch.images],
        "left_out": list(batch.left_out),
        "refused": batch.refused,
    }
    return {**files, _VALUES: _to_json(values)}


def _files_to_batch(files: Mapping[str, bytes]) -> DrawnBatch:
    values = json.loads(files[_VALUES])
    images = tuple(
        DrawnImage(
            **row,
            image=_png_to_image(files[f"{row['number']:04d}.png"]),
            attribution=np.load(io.BytesIO(files[f"{row['number']:04d}.npy"]), allow_pickle=False),
        )
        for row in values["images"]
    )
    return DrawnBatch(values["prompt"], images, tuple(values["left_out"]), values["refused"])


def _image_to_png(image: NDArray[np.uint8]) -> bytes:
    data = io.BytesIO()
    Image.fromarray(image).save(data, "PNG")
    return data.getvalue()


def _png_to_image(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as picture:
        return np.array(picture)


def _masks_to_png(foreground: NDArray[np.bool_], background: NDArray[np.bool_]) -> bytes:
    levels = np.where(foreground, _FOREGROUND, np.where(background, _BACKGROUND, 0))
    return _image_to_png(levels.astype(np.uint8))


def _png_to_masks(data: bytes) -> Masks:
    levels = _png_to_image(data)
    return levels == _FOREGROUND, levels == _BACKGROUND


def _to_json(values: Any) -> bytes:
    return f"{json.dumps(values, indent=2, ensure_ascii=False)}\n".encode()
