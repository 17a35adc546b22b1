"""The lesson store: each lesson is one safetensors file and one JSON card, named by the lesson's content address.

The store is the folder ``lessons`` of a bank and works as the bank does (:mod:`ovdiff.bank.files`): files appear whole
or not at all, the card is written last, and a lesson without a card does not count. So a crash loses at most the lesson
that is being written. The folder is locked while a lesson is changed. A running service sees what a command changed,
because the cards' times are looked at whenever lessons are asked for. A damaged lesson counts as off, and is logged.
Never imports torch.
"""

import logging
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.lesson_card import LessonCard, json_to_lesson_card, lesson_card_to_json, lesson_to_card
from ovdiff.bank.lessons import Lesson, LessonCrops, LessonRows, LessonSource, set_digest
from ovdiff.errors import LessonCorruptError, LessonError
from ovdiff.extras import naming_the_extra
from ovdiff.storage import is_stored, place
from ovdiff.storage.files import delete_left_overs, locked, write_whole
from ovdiff.storage.stamps import Stamp, stamps_of

_ADDRESS = re.compile(r"[0-9a-f]{64}")
_ROWS, _CROPS = ("vectors", "labels", "predicted", "weights"), ("vectors", "labels", "predicted", "areas")
_SUFFIXES = (".json", ".safetensors")
_MOST_WEIGHT = 1000.0
"""The greatest weight of a lesson. Weights far above it are infinite in float32, and lessons beside them are lost."""

_Stamp = tuple[Stamp | None, ...]
_log = logging.getLogger(__name__)


class LessonStore:
    """A folder of lessons. Safe for several threads and processes: files only ever appear whole."""

    def __init__(self, folder: Path | str) -> None:
        """Use ``folder``; it is created when the first lesson is saved."""
        self.folder = place(folder)
        self._stamps = stamps_of(self.folder)
        self._examined: dict[str, tuple[_Stamp, LessonCard | LessonCorruptError]] = {}

    def addresses(self) -> tuple[str, ...]:
        """Return the addresses of all lessons, damaged ones included, sorted.

        In a storage the last list of the folder's files is used, for two seconds, or while the storage is away.
        """
        stems = (name.removesuffix(".json") for name in self._stamps.names() if name.endswith(".json"))
        return tuple(stem for stem in stems if _ADDRESS.fullmatch(stem))

    def cards(self) -> tuple[LessonCard, ...]:
        """Return the cards of all undamaged lessons, sorted by address. Damaged ones are logged once.

        Cost: a look at the times of each lesson's files; a lesson that has changed is read and hashed.
        """
        found = (self._examine(address) for address in self.addresses())
        return tuple(card for card in found if isinstance(card, LessonCard))

    def damaged(self) -> tuple[LessonCorruptError, ...]:
        """Return what is wrong with each damaged lesson; the error names its file."""
        found = (self._examine(address) for address in self.addresses())
        return tuple(error for error in found if isinstance(error, LessonCorruptError))

    def has(self, address: str) -> bool:
        """Say whether a lesson is stored and undamaged, on or off."""
        return isinstance(self._examine(address), LessonCard)

    def card(self, address: str) -> LessonCard:
        """Return the card of a lesson.

        Raises:
            LessonError: there is no such lesson.
            LessonCorruptError: it is damaged.
        """
        found = self._examine(address)
        if found is None:
            raise self._absent(address)
        if isinstance(found, LessonCorruptError):
            raise found
        return found

    def load(self, address: str) -> Lesson:
        """Read a lesson; vectors come back as float32.

        Raises:
            LessonError: there is no such lesson.
            LessonCorruptError: it is damaged.
        """
        try:
            card, data = self._read(address)
        except LessonCorruptError:
            with self._settled():
                card, data = self._read(address)
        return self._unpack(card, data)

    def in_force(self, recipe: str, phrases: Collection[tuple[str, ...]] | None = None) -> tuple[Lesson, ...]:
        """Read the lessons that count, sorted by address.

        Args:
            recipe: the recipe of the features with which the lessons are to be used.
            phrases: the phrases of the asked categories; lessons that speak about none of them are left out. With
                ``None`` all lessons count that are on.

        Returns:
            The lessons; one that was damaged or removed meanwhile is left out.
        """
        found = []
        for card in self._counting(recipe, phrases):
            try:
                found.append(self.load(card.address))
            except LessonCorruptError as error:
                _log.warning("%s", error)
            except LessonError:  # Another process has removed it meanwhile.
                continue
        return tuple(found)

    def digest(self, recipe: str, phrases: Collection[tuple[str, ...]] | None = None) -> str:
        """Return a hash of the addresses and weights of the lessons that count; "" if none does.

        The arguments are those of :meth:`in_force`. Cost: that of :meth:`cards`.
        """
        return set_digest({card.address: card.weight for card in self._counting(recipe, phrases)})

    def of_task(self, recipe: str, source: LessonSource, *, per_annotation: bool = False) -> tuple[str, ...]:
        """Return the addresses of the lessons of a recipe that were taken from the same task and image, on or off.

        Args:
            recipe: the recipe of the lessons.
            source: the task; of a source without a task no other lesson is known.
            per_annotation: only those of the same annotation.
        """

        def place(of: LessonSource) -> tuple[str, ...]:
            return of.project, of.task, of.image, of.annotation if per_annotation else ""

        own = (card for card in self.cards() if card.recipe == recipe and place(card.source) == place(source))
        return tuple(card.address for card in own) if source.task else ()

    def save(self, lesson: Lesson, replacing: Iterable[str] = ()) -> None:
        """Store a lesson, in place of a damaged one of its address, and remove the lessons that it replaces.

        A lesson whose card is stored already keeps its switch and its weight.

        Args:
            lesson: the lesson.
            replacing: the addresses of lessons that were taken from older annotations of the same task.

        Raises:
            LessonError: the folder cannot be written, or a vector does not fit float16.
        """
        with naming_the_extra("ovdiff.LessonStore"):
            from safetensors.numpy import save as save_tensors

        data = save_tensors(_pack(lesson))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder):
                delete_left_overs(self.folder)
                card = self._as_it_stood(lesson_to_card(lesson))
                write_whole(self._path(lesson.address, ".safetensors"), data)
                self._write_card(card.sealed(data))
                for address in set(replacing) - {lesson.address}:
                    self._unlink(address)
            self._changed(lesson.address, *replacing)
        except OSError as error:
            raise self._unwritable(lesson.address, error) from error

    def change(self, address: str, *, on: bool | None = None, weight: float | None = None) -> None:
        """Switch a lesson on or off, or give it another weight.

        Raises:
            LessonError: there is no such lesson, the weight is not above 0 and up to 1000, or the folder cannot be
                written.
            LessonCorruptError: the lesson is damaged.
        """
        if weight is not None and not 0 < weight <= _MOST_WEIGHT:
            raise LessonError(
                f"The weight of a lesson is {weight}; expected a number above 0 and up to {_MOST_WEIGHT:g}. `off` "
                "switches it off."
            )
        if not self.folder.is_dir():
            raise self._absent(address)
        try:
            with locked(self.folder):  # The card is read and written in one go.
                card = self._read(address)[0]
                card = replace(card, on=card.on if on is None else on)
                self._write_card(replace(card, weight=card.weight if weight is None else float(weight)))
            self._changed(address)
        except OSError as error:
            raise self._unwritable(address, error) from error

    def remove(self, address: str) -> None:
        """Delete a lesson, damaged or not. If there is no lesson of this address, do nothing.

        Raises:
            LessonError: the folder cannot be written.
        """
        if not self.folder.is_dir():
            return
        try:
            with locked(self.folder):
                self._unlink(address)
            self._changed(address)
        except OSError as error:
            raise self._unwritable(address, error) from error

    # ---------------------------------------------------------------- inside

    def _settled(self) -> AbstractContextManager[None]:
        """Wait until no other process replaces one of a lesson's two files; who may only read a storage waits not."""
        return nullcontext() if is_stored(self.folder) else locked(self.folder)

    def _counting(self, recipe: str, phrases: Collection[tuple[str, ...]] | None) -> list[LessonCard]:
        usable = [card for card in self.cards() if card.on and card.recipe == recipe]
        if phrases is None:
            return usable
        return [card for card in usable if any(card.teaches(each) for each in phrases)]

    def _examine(self, address: str) -> LessonCard | LessonCorruptError | None:
        """Return a lesson's card, or what is wrong with the lesson, or ``None`` if there is none.

        A lesson whose files have the times, sizes and numbers that they had is not read again.
        """
        stamp = self._stamp(address)
        if address in self._examined and self._examined[address][0] == stamp:
            return self._examined[address][1]
        found: LessonCard | LessonCorruptError
        try:
            found = self._checked(address)
        except LessonCorruptError as error:
            found = error
            _log.warning("%s", error)
        except LessonError:
            self._examined.pop(address, None)
            return None
        self._examined[address] = stamp, found
        return found

    def _checked(self, address: str) -> LessonCard:
        try:
            return self._read(address)[0]
        except LessonCorruptError:
            with self._settled():
                return self._read(address)[0]

    def _read(self, address: str) -> tuple[LessonCard, bytes]:
        """Return the card and the bytes of the arrays, which match each other.

        Raises:
            LessonError: there is no such lesson.
            LessonCorruptError: it is damaged.
        """
        card_path, path = self._path(address, ".json"), self._path(address, ".safetensors")
        try:
            text = card_path.read_text("utf-8")
        except FileNotFoundError as error:
            raise self._absent(address) from error
        except (OSError, ValueError) as error:
            raise LessonCorruptError(card_path, f"its card cannot be read ({error})") from error
        card = json_to_lesson_card(text, card_path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise LessonCorruptError(path, f"it cannot be read ({error})") from error
        if card.address != address or card.checksum(data) != card.sha256:
            raise LessonCorruptError(path, "its SHA-256 differs from its card's")
        return card, data

    def _as_it_stood(self, card: LessonCard) -> LessonCard:
        """Return a new card with the switch and the weight of the stored one, if that can be read."""
        path = self._path(card.address, ".json")
        try:
            stored = json_to_lesson_card(path.read_text("utf-8"), path)
        except (OSError, ValueError, LessonCorruptError):
            return card
        return replace(card, on=stored.on, weight=stored.weight)

    def _write_card(self, card: LessonCard) -> None:
        write_whole(self._path(card.address, ".json"), lesson_card_to_json(card).encode())

    def _changed(self, *addresses: str) -> None:
        """Look anew at the next question, because this process has written or deleted the files of lessons."""
        self._stamps.changed(*(f"{address}{suffix}" for address in addresses for suffix in _SUFFIXES))

    def _unlink(self, address: str) -> None:
        self._path(address, ".json").unlink(missing_ok=True)  # First, so that no card ever names a missing file.
        self._path(address, ".safetensors").unlink(missing_ok=True)

    def _unpack(self, card: LessonCard, data: bytes) -> Lesson:
        with naming_the_extra("ovdiff.LessonStore"):
            from safetensors import SafetensorError
            from safetensors.numpy import load as load_tensors

        try:
            arrays = load_tensors(data)
            spaces = {name: LessonRows(*_group(arrays, f"rows.{name}", _ROWS)) for name in sorted(card.rows)}
            crops = LessonCrops(*_group(arrays, "crops", _CROPS)) if "crops.vectors" in arrays else None
        except (SafetensorError, KeyError, ValueError) as error:
            path = self._path(card.address, ".safetensors")
            raise LessonCorruptError(path, f"not a lesson ({error})") from error
        embedding = arrays["embedding"].astype(np.float32) if "embedding" in arrays else None
        return Lesson(
            card.address, card.recipe, card.image, card.words, card.complete, spaces, crops, embedding,
            card.weight, card.source,
        )  # fmt: skip

    def _stamp(self, address: str) -> _Stamp:
        paths = (self._path(address, suffix) for suffix in _SUFFIXES)
        try:
            return tuple(self._stamps.of(path) for path in paths)
        except OSError:  # Whatever is wrong with a file is said when it is read.
            return (None, None)

    def _path(self, address: str, suffix: str) -> Path:
        if not _ADDRESS.fullmatch(address):
            raise LessonError(f"{address!r} is not the address of a lesson; expected 64 hexadecimal digits.")
        return self.folder / f"{address}{suffix}"

    def _absent(self, address: str) -> LessonError:
        return LessonError(f"No lesson {address[:12]} in {self.folder}. `ovdiff lessons list` names those there are.")

    def _unwritable(self, address: str, error: OSError) -> LessonError:
        return LessonError(f"Lesson {address[:12]} cannot be written to {self.folder}: {error}.")


def lessons_beside(bank_folder: Path) -> LessonStore:
    """Return the store of the lessons of a bank, by the bank's folder."""
    return LessonStore(bank_folder / "lessons")


def _pack(lesson: Lesson) -> dict[str, NDArray[Any]]:
    groups: dict[str, Any] = {f"rows.{name}": rows for name, rows in lesson.spaces.items()}
    if lesson.crops is not None:
        groups["crops"] = lesson.crops
    arrays = {f"{prefix}.{name}": value for prefix, group in groups.items() for name, value in vars(group).items()}
    if lesson.embedding is not None:
        arrays["embedding"] = lesson.embedding
    return {name: _storable(name, value) for name, value in arrays.items()}


def _storable(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array as it is stored: vectors in float16, because their cosines need no more digits."""
    if name != "embedding" and not name.endswith(".vectors"):
        return np.ascontiguousarray(array)
    with np.errstate(over="ignore"):  # The error below reports it, with the array's name.
        halves = array.astype(np.float16)
    if not np.isfinite(halves).all():
        raise LessonError(f"{name} of a lesson does not fit float16 (largest value 65504), or is not finite.")
    return np.ascontiguousarray(halves)


def _group(arrays: Mapping[str, NDArray[Any]], prefix: str, names: tuple[str, ...]) -> list[NDArray[Any]]:
    found = [arrays[f"{prefix}.{name}"] for name in names]
    if found[0].ndim != 2 or len({len(array) for array in found}) != 1:
        raise ValueError(f"{prefix} has arrays of different lengths")
    return [found[0].astype(np.float32), *found[1:]]
