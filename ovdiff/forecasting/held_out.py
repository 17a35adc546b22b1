"""Prototypes that were made without the images that they are tried on: two halves of each support set.

Each half is tried with the prototypes of the other one, so the features of every image are extracted once.
"""

from collections.abc import Mapping
from dataclasses import replace

from ovdiff.bank import Bank
from ovdiff.bank.prototypes import PrototypeSet
from ovdiff.bank.support import SupportSet
from ovdiff.building.parts import BuildingParts
from ovdiff.building.steps import make_prototype_set

HALVES = 2


class OverlaidBank(Bank):
    """A bank in which the sets of some keys are others than the stored ones. It writes nothing by itself."""

    def __init__(self, bank: Bank, sets: Mapping[str, PrototypeSet]) -> None:
        """Read from a bank what is not among the ``sets``, which are given by their keys."""
        super().__init__(bank.folder)
        self._sets = sets

    def has(self, key: str) -> bool:
        """Say whether there is a set of this key."""
        return key in self._sets or super().has(key)

    def load(self, key: str) -> PrototypeSet:
        """Return the set of a key.

        Raises:
            BankError: there is no such set.
            BankCorruptError: the stored set is damaged.
        """
        return self._sets[key] if key in self._sets else super().load(key)


def halves(support: SupportSet) -> tuple[SupportSet, SupportSet] | None:
    """Return the images with a foreground in two halves, alternately; ``None`` if there are fewer than two."""
    shown = [item for item in support.images if item.foreground.any()]
    if len(shown) < HALVES:
        return None
    return SupportSet(tuple(shown[::HALVES])), SupportSet(tuple(shown[1::HALVES]))


def make_half(parts: BuildingParts, half: SupportSet) -> PrototypeSet:
    """Return the prototypes of half of a category's images, in the feature spaces that vote.

    Raises:
        SupportError: an extractor has no usable feature of the foreground.
        WeightsError: an extractor cannot be loaded.
        DeviceMemoryError: not even one image fits into the device's memory.
    """
    preset = parts.preset
    voters = replace(preset, extractors=replace(preset.extractors, use=preset.active_extractors()))
    return make_prototype_set(BuildingParts(voters, parts.models, parts.extractors), half, lambda _stage, _done: None)
