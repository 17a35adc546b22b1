"""The door for engines: what every engine can do, what some can do besides, and which engines there are.

An engine turns a vocabulary and an image into a segmentation. Its preset names it (``engine = "ovdiff"``), so whoever
has a preset has the engine: the command line, the service and a program ask :func:`load_any_preset` and
:func:`make_engine`. Another package adds an engine by the entry point group ``ovdiff.engines``.

This module imports no engine before one is made, and never torch.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.bank.support import SupportSet
from ovdiff.errors import PresetError
from ovdiff.presets import Part, Preset
from ovdiff.presets.files import OVDIFF, read_preset
from ovdiff.presets.mapping import build
from ovdiff.presets.part import Parts
from ovdiff.presets.preset import TABLE_TYPES, mapping_to_preset
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary
from ovdiff.vocabulary.kinds import KindDecision

ENGINES = Parts("engine", "ovdiff.engines", {OVDIFF: Part("ovdiff.engine:make_engine", settings=Preset)})
"""Engines by the ``engine`` field of their presets.

Of each :class:`~ovdiff.presets.Part`, ``settings`` is the dataclass of its presets (an :class:`EnginePreset`), and
``make`` is called with such a preset, the bank and a device's name; it returns a :class:`SegmentationEngine`.
"""

Progress = Callable[[str, float], None]
"""Called with the name of a stage and the fraction done, 0 to 1."""


class EnginePreset(Protocol):
    """The preset of an engine: a frozen dataclass; its fields are declared by :func:`ovdiff.presets.fields.setting`."""

    @property
    def name(self) -> str:
        """The preset's own name."""
        ...

    @property
    def engine(self) -> str:
        """The name of its engine, as in :data:`ENGINES`."""
        ...


@runtime_checkable
class Builder(Protocol):
    """The half of an engine that prepares categories, each once."""

    def category_key(self, category: Category) -> str:
        """Return the content address of what the engine prepares for a category; cheap, loads no model.

        Raises:
            OVDiffError: a model's files are missing.
        """
        ...

    def has(self, category: Category) -> bool:
        """Say whether the category is prepared, so that an image can be segmented with it."""
        ...

    def build(self, category: Category, progress: Progress | None = None) -> None:
        """Prepare a category unless it is prepared; report stages and fractions.

        Raises:
            OVDiffError: the category cannot be prepared; its message says why.
        """
        ...


@runtime_checkable
class SegmentationEngine(Builder, Protocol):
    """What every engine can do. Threads may share one."""

    @property
    def preset(self) -> EnginePreset:
        """The preset that it was made with."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of all that makes masks beside the prepared categories: weights and hyper-parameters."""
        ...

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        """Return the segmentation of an (H, W, 3) uint8 RGB image; every category must be prepared.

        Raises:
            MissingPrototypesError: categories that must be prepared first.
            OVDiffError: anything else that went wrong.
        """
        ...


@runtime_checkable
class HasKinds(Protocol):
    """An engine that treats things and stuff differently, and can say which a category is taken for."""

    def kind_so_far(self, category: Category) -> KindDecision | None:
        """Return whether a category is taken for a thing or for stuff, and why; ``None`` if only a model can tell."""
        ...


@runtime_checkable
class HasSupportSets(Protocol):
    """An engine that draws support images of a category and keeps them."""

    def support_set(self, category: Category) -> SupportSet:
        """Return the support images of a category with their masks; loads no model.

        Raises:
            BankError: they are not all there; the message says what to do.
        """
        ...


def load_any_preset(name_or_path: str | Path) -> EnginePreset:
    """Load a preset of whichever engine it names, by its name or from a ``.toml`` file.

    Raises:
        PresetError: no such preset, file or engine, not TOML, or a field that is unknown or impossible.
    """
    mapping, where = read_preset(name_or_path), f"Preset {str(name_or_path)!r}"
    name = mapping.setdefault("engine", OVDIFF)
    if not isinstance(name, str):
        raise PresetError(f"{where}: engine is {name!r}; expected the name of one: {', '.join(ENGINES.names())}.")
    if name == OVDIFF:
        return mapping_to_preset(mapping, where)
    settings = ENGINES[name].settings
    if settings is None:
        raise PresetError(f"{where}: the engine {name!r} has no dataclass of its presets; its package must give one.")
    preset: EnginePreset = build(settings, mapping, where, TABLE_TYPES)
    return preset


def make_engine(preset: EnginePreset, bank: Bank, device: str) -> SegmentationEngine:
    """Make the engine that a preset names; it loads no weights yet, but may import torch.

    Args:
        preset: of any engine.
        bank: where prepared categories are stored; an engine may keep what it prepares elsewhere.
        device: such as "cpu" or "cuda".

    Raises:
        PresetError: there is no such engine, what it needs is not installed, or it lacks what every engine can do.
        DeviceError: the engine cannot use the device.
    """
    engine = ENGINES[preset.engine].maker(f"engine {preset.engine!r}")(preset, bank, device)
    if not isinstance(engine, SegmentationEngine):
        missing = ", ".join(name for name in _MEMBERS if not hasattr(engine, name))
        raise PresetError(f"The engine {preset.engine!r} is {type(engine).__name__}, which has no {missing}.")
    return engine


_MEMBERS = ("preset", "category_key", "has", "build", "fingerprint", "segment")
