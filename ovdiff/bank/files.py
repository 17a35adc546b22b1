"""The prototype store: each prototype set is one safetensors file and one JSON card, named by their content address.

``<key>.safetensors`` holds the arrays. Vectors are in float16, which moves a cosine by less than 2e-5; the released
code keeps float32. ``<key>.json`` is the card, which says what the arrays were made from and carries their checksum.
Each file appears whole or not at all. The card is written last, and a set without a card does not count, so a crash
loses at most the set that is being written. The folder is locked while a set is changed, so that two builds of one
category end with two files of the same build. The folder may be one of a storage (`ovdiff.storage`). Never
imports torch.
"""

import hashlib
import logging
import re
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.card import Card, card_to_json, json_to_card
from ovdiff.bank.judgement import Judgement
from ovdiff.bank.prototypes import KINDS, FeatureSpacePrototypes, Prototypes, PrototypeSet
from ovdiff.errors import BankCorruptError, BankError
from ovdiff.extras import naming_the_extra
from ovdiff.storage import is_stored, place
from ovdiff.storage.files import delete_left_overs, locked, write_whole
from ovdiff.storage.stamps import Stamp, stamps_of

_KEY = re.compile(r"[0-9a-f]{16,64}")
_FIELDS = ("vectors", "kinds", "images")
_SIDES = ("foreground", "background")
_log = logging.getLogger(__name__)


class Bank:
    """A folder of prototype sets. Safe for several threads and processes: files only ever appear whole."""

    def __init__(self, folder: Path | str) -> None:
        """Use ``folder``, or an address such as s3://bucket/bank; it is created when the first set is saved.

        Raises:
            StorageError: the address is of a kind that nobody knows here, or holds a password.
            MissingExtraError: the libraries for addresses are not installed.
        """
        self.folder = place(folder)
        self._stamps = stamps_of(self.folder)
        self._verified: dict[str, tuple[Stamp | None, ...]] = {}

    def keys(self) -> tuple[str, ...]:
        """Return the keys of all complete sets, sorted; their contents are not verified."""
        names = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()
        keys = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        return tuple(sorted(key for key in keys if _KEY.fullmatch(key) and f"{key}.safetensors" in names))

    def size_bytes(self, key: str) -> int:
        """Return the bytes of a set's files; 0 if there is no such set."""
        stamps = (self._stamps.of(path) for path in (self._card(key), self._tensors(key)))
        return sum(stamp[1] for stamp in stamps if stamp is not None)

    def look_anew(self) -> None:
        """Ask a storage at the next question, whose list of files is otherwise used for two seconds."""
        self._stamps.changed()

    def has(self, key: str) -> bool:
        """Say whether a set is stored and undamaged. A damaged set counts as absent, and is logged.

        A file that was verified before is hashed again only if it has changed on disk.
        """
        if self._stamps.of(self._card(key)) is None:
            return False
        try:
            self._verify(key)
        except BankCorruptError as error:
            _log.warning("%s", error)
            return False
        return True

    def load(self, key: str) -> PrototypeSet:
        """Read a set; vectors come back as float32.

        Raises:
            BankError: there is no such set.
            BankCorruptError: the arrays do not match their card, or a file cannot be read as a prototype set.
        """
        if not self._card(key).is_file():
            raise BankError(f"No prototype set {key} in {self.folder}. Build its category first.")
        with naming_the_extra("ovdiff.Bank"):
            from safetensors import SafetensorError
            from safetensors.numpy import load as load_tensors

        data = self._verify(key, reread=True)
        try:
            return _unpack(load_tensors(data))
        except (SafetensorError, KeyError, ValueError) as error:
            raise BankCorruptError(self._tensors(key), f"not a prototype set ({error})") from error

    def card(self, key: str) -> Card:
        """Return the card of a set: its phrases, seeds, models, hyper-parameters, schema version and checksum.

        Raises:
            BankError: there is no such set.
            BankCorruptError: the card is not readable.
        """
        path = self._card(key)
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError as error:
            raise BankError(f"No prototype set {key} in {self.folder}. Build its category first.") from error
        except (OSError, ValueError) as error:
            raise BankCorruptError(path, f"its card cannot be read ({error})") from error
        return json_to_card(text, path)

    def save(self, key: str, prototypes: PrototypeSet, card: Card) -> None:
        """Store a set under its key, in place of a set that is stored there already.

        Raises:
            BankError: the folder cannot be written, or a vector does not fit float16.
        """
        with naming_the_extra("ovdiff.Bank"):
            from safetensors.numpy import save as save_tensors

        data = save_tensors(_pack(prototypes))
        text = card_to_json(replace(card, key=key, sha256=hashlib.sha256(data).hexdigest()))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder):
                delete_left_overs(self.folder)
                write_whole(self._tensors(key), data)
                write_whole(self._card(key), text.encode())
            self._changed(key)
        except OSError as error:
            raise BankError(f"Prototype set {key} cannot be written to {self.folder}: {error}.") from error

    def add(self, key: str, arrays: bytes, card: bytes) -> None:
        """Store the files of a set that was made elsewhere, as they are, unless a whole set of this key is there.

        The caller checks them first (`check`).

        Raises:
            OSError: the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder):
            try:
                self._read(key, reread=True)
            except BankError:  # There is no set, or a damaged one.
                write_whole(self._tensors(key), arrays)
                write_whole(self._card(key), card)
        self._changed(key)

    @staticmethod
    def check(arrays: bytes, card: Card, path: Path) -> None:
        """Check that bytes are the arrays of a card.

        Raises:
            BankCorruptError: they are not, or are no prototypes; the message names the path.
        """
        with naming_the_extra("ovdiff.Bank"):
            from safetensors import SafetensorError
            from safetensors.numpy import load as load_tensors

        if hashlib.sha256(arrays).hexdigest() != card.sha256:
            raise BankCorruptError(path, "its SHA-256 differs from its card's")
        try:
            _unpack(load_tensors(arrays))
        except (SafetensorError, KeyError, ValueError) as error:
            raise BankCorruptError(path, f"not a prototype set ({error})") from error

    def judge(self, key: str, judgement: Judgement) -> None:
        """Write a judgement into the card of a set. If there is no set of this key any more, do nothing.

        Raises:
            BankCorruptError: the card is not readable.
            BankError: the folder cannot be written.
        """
        if not self.folder.is_dir():
            return
        try:
            with locked(self.folder):  # The card is read and written in one go, so that it stays that of its arrays.
                if self._card(key).is_file():
                    text = card_to_json(replace(self.card(key), judgement=judgement))
                    write_whole(self._card(key), text.encode())
            self._changed(key)
        except OSError as error:
            raise BankError(f"The card of prototype set {key} cannot be written to {self.folder}: {error}.") from error

    def remove(self, key: str) -> None:
        """Delete a set. If there is no set of this key, do nothing.

        Raises:
            OSError: a file of this machine cannot be deleted.
            StorageError: the storage refuses, or is away for too long.
        """
        card, tensors = self._card(key), self._tensors(key)
        self._verified.pop(key, None)
        if not self.folder.is_dir():
            return
        with locked(self.folder):
            card.unlink(missing_ok=True)  # The card goes first, so that no card ever names a missing file.
            tensors.unlink(missing_ok=True)
        self._changed(key)

    def _changed(self, key: str) -> None:
        """Look anew at the next question, because this process has written or deleted the files of a set."""
        self._stamps.changed(self._card(key).name, self._tensors(key).name)

    def _verify(self, key: str, *, reread: bool = False) -> bytes:
        """Return the bytes of a set's arrays; no bytes if the files have not changed since they were verified."""
        try:
            return self._read(key, reread)
        except BankCorruptError:
            # Another process may have replaced one of the two files: read when it is done. Of a storage a lock would be
            # asked for by those who may only read; there the same bytes are replaced, unless they are damaged.
            with nullcontext() if is_stored(self.folder) else locked(self.folder):
                self.look_anew()
                return self._read(key, reread)

    def _read(self, key: str, reread: bool) -> bytes:
        paths = (self._card(key), self._tensors(key))
        try:
            stamp = tuple(self._stamps.of(path) for path in paths)
            if stamp[0] is None:
                raise FileNotFoundError(f"{paths[0]} is not there")
            if not reread and self._verified.get(key) == stamp:
                return b""
            data = paths[1].read_bytes()
        except OSError as error:
            raise BankCorruptError(paths[1], f"it cannot be read ({error})") from error
        if hashlib.sha256(data).hexdigest() != self.card(key).sha256:
            raise BankCorruptError(paths[1], "its SHA-256 differs from its card's")
        self._verified[key] = stamp
        return data

    def _tensors(self, key: str) -> Path:
        return self._path(key, ".safetensors")

    def _card(self, key: str) -> Path:
        return self._path(key, ".json")

    def _path(self, key: str, suffix: str) -> Path:
        if not _KEY.fullmatch(key):
            raise BankError(f"{key!r} is not a prototype key; expected 16 to 64 hexadecimal digits.")
        return self.folder / f"{key}{suffix}"


def _pack(prototypes: PrototypeSet) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for name, space in prototypes.spaces.items():
        for side in _SIDES:
            part: Prototypes = getattr(space, side)
            with np.errstate(over="ignore"):  # The error below reports it, with the extractor's name.
                halves = part.vectors.astype(np.float16)
            if not np.isfinite(halves).all():
                raise BankError(f"{side} prototypes of {name} do not fit float16 (largest value 65504).")
            arrays[f"{name}.{side}.vectors"] = np.ascontiguousarray(halves)
            arrays[f"{name}.{side}.kinds"] = np.ascontiguousarray(part.kinds)
            arrays[f"{name}.{side}.images"] = np.ascontiguousarray(part.images)
    return arrays


def _unpack(arrays: Mapping[str, NDArray[Any]]) -> PrototypeSet:
    names = sorted({name.split(".")[0] for name in arrays})
    return PrototypeSet({name: _unpack_space(arrays, name) for name in names})


def _unpack_space(arrays: Mapping[str, NDArray[Any]], name: str) -> FeatureSpacePrototypes:
    sides = [_unpack_side(arrays, f"{name}.{side}") for side in _SIDES]
    if len({side.vectors.shape[1] for side in sides if len(side.vectors)}) > 1:
        raise ValueError(f"foreground and background of {name} have vectors of different dimensions")
    return FeatureSpacePrototypes(*sides)


def _unpack_side(arrays: Mapping[str, NDArray[Any]], prefix: str) -> Prototypes:
    vectors, kinds, images = (arrays[f"{prefix}.{field}"] for field in _FIELDS)
    if vectors.ndim != 2 or not vectors.shape[:1] == kinds.shape == images.shape:
        raise ValueError(f"{prefix} has arrays of different lengths")
    if vectors.dtype.kind != "f" or not np.isfinite(vectors).all():
        raise ValueError(f"the vectors of {prefix} are not all numbers")
    if kinds.dtype.kind not in "iu" or images.dtype.kind != "i" or not np.isin(kinds, range(len(KINDS))).all():
        raise ValueError(f"{prefix} has a kind of prototype that there is not; there are {', '.join(KINDS)}")
    return Prototypes(vectors.astype(np.float32), kinds, images)
