"""The whole method in one call: an image and words in, masks out.

>>> import ovdiff
>>> result = ovdiff.segment("scene.png", ["boat", "water"], preset="tinyworld")    # doctest: +SKIP
>>> result.masks["boat"]                                                           # doctest: +SKIP

A program that wants to build and segment in separate steps makes an :class:`ovdiff.Engine` of its own. This module
imports torch only when an engine is made.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.engines import EnginePreset, SegmentationEngine, load_any_preset, make_engine
from ovdiff.errors import BankError, PresetError
from ovdiff.images import ImageLike, read_image
from ovdiff.segmentation import Segmentation
from ovdiff.storage import place
from ovdiff.vocabulary import Category, Vocabulary

__all__ = ["BANK_FOLDER", "NamedSegmentation", "segment", "unload_models"]

BANK_FOLDER = Path("ovdiff-data/bank")
"""The bank in the current folder. The command `ovdiff` uses it too: each finds the prototypes that the other built."""

_MOST_ENGINES = 2  # The models of one engine may take several GB.
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class NamedSegmentation:
    """The masks of one image by the names of their categories.

    Attributes:
        image: (H, W, 3) uint8 RGB, upright: the pixels that the masks belong to.
        vocabulary: the categories that were looked for.
        segmentation: labels, scores and margins of every pixel.
    """

    image: NDArray[np.uint8]
    vocabulary: Vocabulary
    segmentation: Segmentation

    @property
    def names(self) -> tuple[str, ...]:
        """The categories' names; label `i + 1` of the label map is `names[i]`."""
        return self.vocabulary.names

    @property
    def label_map(self) -> NDArray[np.int32]:
        """(H, W) int32: 0 is background, `i + 1` is `names[i]`."""
        return self.segmentation.label_map

    @cached_property
    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Each category's mask by its name, (H, W) bool; all False where the category was not found."""
        return {name: self.segmentation.mask(index) for index, name in enumerate(self.names)}

    @cached_property
    def scores(self) -> dict[str, float]:
        """How sure the method is of each category's mask by its name, in [0, 1]; 0 where the category was not found."""
        return {name: self.segmentation.category_score(index) for index, name in enumerate(self.names)}

    @property
    def found(self) -> tuple[str, ...]:
        """The names of the categories that have at least one pixel, in the vocabulary's order."""
        return tuple(name for name, mask in self.masks.items() if mask.any())


def segment(
    image: ImageLike,
    categories: Vocabulary | Iterable[Category | str],
    *,
    preset: EnginePreset | str | Path | None = None,
    device: str = "cpu",
    bank: str | Path | None = None,
) -> NamedSegmentation:
    """Find the named categories in an image; prototypes that are missing are built first.

    **Which preset?** Without a preset, the embedded models of `tinyworld` answer, and a warning says so: they need no
    download, but know only drawn scenes and 19 words, and their masks of a photograph mean nothing. For photographs
    pass `preset="fast"` or `preset="paper"`, whose weights are downloaded when they are first needed.

    **Cost.** A new category takes seconds with the embedded models and minutes with full-size ones, once: it is kept
    in the bank. Models are loaded by the first call and kept for later ones, for the last two combinations of preset,
    device and bank; `unload_models` lets go of them. Threads may call this at the same time.

    Args:
        image: a path, a Pillow image, or an array: grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4) in uint8, or grey
            (H, W) in uint16. Files and Pillow images are turned by their EXIF orientation.
        categories: the categories to look for: a list of names, of Categories, or of both; or a Vocabulary.
        preset: a preset's name, the path of a `.toml` file, or a preset made in code, of any engine; None is
            "tinyworld", with the warning.
        device: a torch device, such as "cpu" or "cuda".
        bank: the folder that keeps prototypes, or an address such as s3://bucket/bank; None is `ovdiff-data/bank` in
            the current folder, as for the command `ovdiff`. The environment is not read: where `OVDIFF_DATA_DIR` or
            `OVDIFF_BANK` is set for the command, name its bank here.

    Raises:
        VocabularyError: no category, a name twice, a blank one, or a string instead of a list.
        ImageError: the image cannot be read, or is no image.
        PresetError: there is no such preset, or its file is not valid.
        DeviceError: torch cannot use the device.
        WeightsError: a model cannot be loaded.
        SupportError: no generated image shows a category.
        BankError: the bank cannot be read or written.
        StorageError: the bank's address cannot be used, or its storage refuses or is away for too long.
        MissingExtraError: torch or another library that a preset needs is not installed.
    """
    vocabulary = categories if isinstance(categories, Vocabulary) else Vocabulary(categories)
    pixels = read_image(image)
    kept = _engines.get(_chosen(preset), _bank_folder(bank), device)
    kept.build_missing(vocabulary)
    return NamedSegmentation(pixels, vocabulary, kept.engine.segment(pixels, vocabulary))


def unload_models() -> None:
    """Free the models that :func:`segment` keeps. The next call loads them again; the prototypes stay in the bank."""
    _engines.forget()


def _bank_folder(bank: str | Path | None) -> Path:
    try:
        return place(bank or BANK_FOLDER).expanduser().resolve()
    except (OSError, RuntimeError) as error:  # a home that nobody has; a link that leads to itself
        raise BankError(f"The bank {str(bank)!r} is no folder that can be used: {error}.") from error


def _chosen(preset: EnginePreset | str | Path | None) -> EnginePreset:
    if preset is None:
        _warn_of_default()
        preset = "tinyworld"
    if isinstance(preset, str | Path):
        return load_any_preset(preset)
    if not hasattr(preset, "engine"):
        raise PresetError(f'Expected a preset, its name or its file, got {preset!r}. Write preset="tinyworld".')
    return preset


@cache  # once a process, not once an image
def _warn_of_default() -> None:
    _log.warning(
        "No preset was chosen, so the embedded models answer: they know only drawn scenes and 19 words. For "
        'photographs pass preset="fast"; preset="tinyworld" says that the embedded models are meant.'
    )


@dataclass(frozen=True)
class _KeptEngine:
    """An engine, and the lock that keeps two threads from building one category twice."""

    engine: SegmentationEngine
    building: threading.Lock = field(default_factory=threading.Lock)

    def build_missing(self, vocabulary: Vocabulary) -> None:
        """Build the categories that the bank lacks, one after the other."""
        if not self._missing(vocabulary):  # A call that needs no build does not wait for another thread's build.
            return
        with self.building:
            missing = self._missing(vocabulary)
            for number, category in enumerate(missing, 1):
                _log.info("Building %r, %d of %d.", category.name, number, len(missing))
                self.engine.build(category)

    def _missing(self, vocabulary: Vocabulary) -> list[Category]:
        return [category for category in vocabulary.categories if not self.engine.has(category)]


class _Engines:
    """The engines of this process by preset, bank and device. The engine that was unused for longest is freed first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[EnginePreset, Path, str], _KeptEngine] = OrderedDict()

    def get(self, preset: EnginePreset, bank: Path, device: str) -> _KeptEngine:
        """Return the engine of a preset, a bank and a device; make it if there is none yet."""
        key = (preset, bank, device)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = _KeptEngine(_make_engine(preset, bank, device))
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST_ENGINES:
                self._kept.popitem(last=False)
            return self._kept[key]

    def forget(self) -> None:
        """Forget all engines. A thread that is working with an engine keeps it until it is done."""
        with self._lock:
            self._kept.clear()


def _make_engine(preset: EnginePreset, bank: Path, device: str) -> SegmentationEngine:
    """Return a new engine. This may import torch, but loads no model yet."""
    return make_engine(preset, Bank(bank), device)


_engines = _Engines()
