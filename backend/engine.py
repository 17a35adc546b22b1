"""What backend and commands need of the method, as protocols: `ovdiff.engine.Engine`, or a quick stand-in in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backend.errors import SettingsError
from ovdiff.bank import Bank
from ovdiff.bank.support import SupportSet
from ovdiff.presets import Preset
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary
from ovdiff.vocabulary.kinds import KindDecision


class Builder(Protocol):
    """The half that makes prototypes, once a category."""

    def prototype_key(self, category: Category) -> str:
        """Return the content address of the category's prototypes; cheap, loads no model."""
        ...

    def has(self, category: Category) -> bool:
        """Return whether the bank has them."""
        ...

    def build(self, category: Category, progress: Callable[[str, float], None] | None = None) -> None:
        """Make and store them, reporting stages and fractions from 0 to 1."""
        ...


class Engine(Builder, Protocol):
    """Both halves. Threads may share it."""

    def fingerprint(self) -> str:
        """Return a hash of all that makes masks, beside the prototypes: models' weights and hyper-parameters."""
        ...

    def kind_so_far(self, category: Category) -> KindDecision | None:
        """Return whether a category is taken for a thing or for stuff, and why; ``None`` if only a model can tell."""
        ...

    def support_set(self, category: Category) -> SupportSet:
        """Return the images that a category's prototypes were made from, with their masks; loads no model."""
        ...

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        """Return the segmentation of an (H, W, 3) uint8 RGB image; every category must be in the bank."""
        ...


def make_engine(preset: Preset, bank: Bank, device: str) -> Engine:
    """Return the real engine; loads no weights yet, but brings torch in.

    Raises:
        SettingsError: torch cannot use the device.
    """
    import torch

    from ovdiff.engine import Engine as OVDiffEngine

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # an unknown name; a device that is not there
        reason = str(error).partition("\n")[0]
        raise SettingsError(f"Device {device!r} (OVDIFF_DEVICE, --device) cannot be used: {reason}") from error
    return OVDiffEngine(preset, bank, device=device)
