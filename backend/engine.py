"""The protocols by which the backend and its commands use the method.

`ovdiff.engine.Engine` satisfies them, and so does the fast stand-in of the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backend.errors import SettingsError
from ovdiff.bank import Bank
from ovdiff.bank.support import SupportSet
from ovdiff.errors import DeviceError
from ovdiff.presets import Preset
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary
from ovdiff.vocabulary.kinds import KindDecision


class Builder(Protocol):
    """The part of an engine that makes prototypes, once for each category."""

    def prototype_key(self, category: Category) -> str:
        """Return the content address of the category's prototypes; cheap, loads no model."""
        ...

    def has(self, category: Category) -> bool:
        """Return whether the bank has the category's prototypes."""
        ...

    def build(self, category: Category, progress: Callable[[str, float], None] | None = None) -> None:
        """Make the category's prototypes and store them in the bank.

        Args:
            category: the category to build.
            progress: called with the name of the stage and the fraction of the whole build that is done, 0 to 1.
        """
        ...


class Engine(Builder, Protocol):
    """The whole method: it makes prototypes and it segments images. Threads may share it."""

    def fingerprint(self) -> str:
        """Return a hash of the models' weights and the hyper-parameters.

        Together with the prototypes they decide the masks.
        """
        ...

    def kind_so_far(self, category: Category) -> KindDecision | None:
        """Return whether a category is a thing or stuff, and who decided it; ``None`` if a model has yet to decide."""
        ...

    def support_set(self, category: Category) -> SupportSet:
        """Return the support images of a category's prototypes, with their masks. Loads no model."""
        ...

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        """Return the segmentation of an (H, W, 3) uint8 RGB image.

        The bank must have the prototypes of every category of the vocabulary.
        """
        ...


def make_engine(preset: Preset, bank: Bank, device: str) -> Engine:
    """Return the real engine. This imports torch; the weights are loaded when they are first used.

    Raises:
        SettingsError: torch does not know the device or cannot use it.
    """
    from ovdiff.engine import Engine as OVDiffEngine
    from ovdiff.models.devices import require_device

    try:
        require_device(device)
    except DeviceError as error:
        raise SettingsError(f"{error} Change OVDIFF_DEVICE or --device.") from error
    return OVDiffEngine(preset, bank, device=device)
