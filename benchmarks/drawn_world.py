"""What the measurements on the drawn world share: scenes with their truth, presets that differ, banks of several seeds.

A crowded scene holds three things where they fit, is 320 px large, and is numbered from 50000 where figures are
reported. A usual scene is one of those that the models were trained on, 256 px large, numbered from 0.
"""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.metrics.confusion import category_ious, confusion_matrix
from ovdiff import Bank, Category, Engine, Preset, Vocabulary
from ovdiff.engines.encodings import HasEncodings
from ovdiff.evaluation.rows import Changes, with_changes
from ovdiff.odise.engine import EncodedMasks
from ovdiff.presets import preset_to_mapping
from ovdiff.presets.preset import mapping_to_preset
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.tinyworld.world import NAMES, STUFF, THINGS, Split, render, sample_scene

CROWDED_PX, CROWDED_FIRST, CROWDED_THINGS = 320, 50_000, 3
USUAL_PX = 256
SEEDS = (42, 43, 44)
BANK = Path("runs/bank")
"""The prototypes of earlier runs are kept here; a set's address says what made it, so none is ever out of date."""

THINGS_ONLY = Vocabulary(tuple(Category(name, kind="thing") for name in THINGS))
EVERYTHING = Vocabulary(THINGS_ONLY.categories + tuple(Category(name, kind="stuff") for name in STUFF))
NO_ANCHORS: Changes = {"anchors": {"words": [], "prototypes": []}}
NO_CHECK: Changes = {"part_check": {"enabled": False}}
PREFILTER: Changes = {"prefilter": {"enabled": True}}
PUBLISHED: Changes = {**NO_ANCHORS, **NO_CHECK, **PREFILTER}
"""What turns the preset into the published method."""


@dataclass(frozen=True)
class Scenes:
    """Encoded scenes.

    Attributes:
        numbers: the scenes' numbers in their split.
        images: (H, W, 3) uint8 RGB each.
        encoded: what an engine made of the images.
        label_maps: the truth, (H, W) uint8 indices into the world's names.
    """

    numbers: tuple[int, ...]
    images: tuple[NDArray[np.uint8], ...]
    encoded: tuple[EncodedImage | EncodedMasks, ...]
    label_maps: tuple[NDArray[np.uint8], ...]

    def truths(self, vocabulary: Vocabulary) -> list[NDArray[np.int32]]:
        """Return the label map (H, W) of each scene, by :func:`true_labels`."""
        return [true_labels(label_map, vocabulary) for label_map in self.label_maps]


def true_labels(names: NDArray[np.uint8], vocabulary: Vocabulary) -> NDArray[np.int32]:
    """Return a label map (H, W): 0 for whatever is not in the vocabulary, i + 1 for its i-th category.

    Args:
        names: (H, W) indices into the world's names.
        vocabulary: categories that have names of the world.
    """
    ids = np.zeros(len(NAMES), dtype=np.int32)
    for index, category in enumerate(vocabulary.categories):
        ids[NAMES.index(category.name)] = index + 1
    return ids[names]


def encode_scenes(
    engine: HasEncodings, split: Split, numbers: Iterable[int], *, things: int | None = None, size_px: int = USUAL_PX
) -> Scenes:
    """Draw and encode scenes of a split; with ``things`` each holds that many, where they fit."""
    numbers = tuple(numbers)
    drawn = [render(sample_scene(number, split, things), size_px) for number in numbers]
    encoded = tuple(engine.encode(each.image) for each in drawn)
    return Scenes(numbers, tuple(each.image for each in drawn), encoded, tuple(each.label_map for each in drawn))


def encode_crowded(engine: HasEncodings, split: Split, numbers: Iterable[int]) -> Scenes:
    """Draw and encode crowded scenes."""
    return encode_scenes(engine, split, numbers, things=CROWDED_THINGS, size_px=CROWDED_PX)


def vary(preset: Preset, **sections: Any) -> Preset:
    """Return the preset with some fields changed, each section a mapping of its fields.

    Raises:
        PresetError: there is no such field, or its value is impossible.
    """
    return mapping_to_preset(with_changes(preset_to_mapping(preset), sections), f"The changed preset {preset.name!r}")


def changes_of(settings: Sequence[str]) -> dict[str, Any]:
    """Return the changes that texts such as ``prefilter.enabled=false`` ask for; values are written as in TOML.

    Raises:
        ValueError: a text is not of this form.
    """
    changes: dict[str, Any] = {}
    for text in settings:
        try:
            changes = with_changes(changes, tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            message = f"--set {text}: {error}. Write section.field=value, as in prefilter.enabled=false"
            raise ValueError(message) from error
    return changes


class Bench:
    """One generation seed: a bank with all 19 words, and engines for variants of the preset."""

    def __init__(self, preset: Preset, seed: int, folder: Path = BANK) -> None:
        """Build the words that the bank lacks: about two seconds of processor time each."""
        self.preset = vary(preset, generation={"seed": seed})
        self._bank = Bank(folder)
        builder = Engine(self.preset, self._bank)
        for category in EVERYTHING.categories:
            builder.build(category)

    def engine(self, changes: Changes | None = None) -> Engine:
        """Return an engine whose preset differs in fields that matter only online."""
        return Engine(vary(self.preset, **(changes or {})), self._bank)


def mious(engine: Engine, scenes: Scenes, vocabulary: Vocabulary = EVERYTHING) -> dict[str, float]:
    """Label each scene with one vocabulary; return the mIoU over background and all words, or and things alone.

    Intersections and unions are summed over all scenes. ``things`` is the mean over background and those words of the
    vocabulary that are things, of the same label maps.
    """
    count = len(vocabulary.categories)
    total = np.zeros((count + 1, count + 1), dtype=np.int64)
    for encoded, truth in zip(scenes.encoded, scenes.truths(vocabulary), strict=True):
        total += confusion_matrix(truth, engine.label(encoded, vocabulary).label_map, count)
    ious = category_ious(total)
    things = [0, *(index + 1 for index, category in enumerate(vocabulary.categories) if category.name in THINGS)]
    return {"all": float(np.nanmean(ious)), "things": float(np.nanmean(ious[things]))}
