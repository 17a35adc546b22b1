"""The second engine: no prototypes, no support images, no kinds; what it prepares it keeps in files of its own."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.errors import DeviceError, MissingPrototypesError, VocabularyError
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary
from ovdiff_words import WordsPreset

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def make_engine(preset: WordsPreset, bank: Bank, device: str) -> "Words":
    if device != "cpu":
        raise DeviceError(f"Device {device!r} cannot be used: words need none.")
    return Words(preset, bank.folder / "words")


class Words:
    def __init__(self, preset: WordsPreset, folder: Path) -> None:
        self.preset, self.folder = preset, folder

    def category_key(self, category: Category) -> str:
        return hashlib.sha256(json.dumps([self.preset.name, category.phrases]).encode()).hexdigest()

    def has(self, category: Category) -> bool:
        return (self.folder / self.category_key(category)).is_file()

    def build(self, category: Category, progress: Callable[[str, float], None] | None = None) -> None:
        colour = next((word for word in " ".join(category.phrases).split() if word in COLOURS), None)
        if colour is None:
            raise VocabularyError(f"{category.name!r} names no colour; expected one of {', '.join(COLOURS)}.")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / self.category_key(category)).write_text(colour)
        if progress is not None:
            progress("done", 1.0)

    def fingerprint(self) -> str:
        return hashlib.sha256(str(self.preset.tolerance).encode()).hexdigest()

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        if missing := [category.name for category in vocabulary.categories if not self.has(category)]:
            raise MissingPrototypesError(missing)
        label_map = np.zeros(image.shape[:2], dtype=np.int32)
        for index, category in enumerate(vocabulary.categories):
            colour = COLOURS[(self.folder / self.category_key(category)).read_text()]
            near = np.abs(image.astype(int) - colour).max(axis=2) <= self.preset.tolerance
            label_map[near] = index + 1
        scores = (label_map > 0).astype(np.float32)
        return Segmentation(label_map, scores, scores)
