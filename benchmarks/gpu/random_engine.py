"""The product's own engine on full-size models with random weights: what it takes in all, and not stage by stage."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.full_size_models import FullSizeParts
from ovdiff.bank import Bank
from ovdiff.bank.prototypes import FeatureSpacePrototypes, Prototypes, PrototypeSet
from ovdiff.engine import Engine
from ovdiff.models.loaded import LoadedModels
from ovdiff.vocabulary import Category, Vocabulary

NAMES = (
    "cat", "dog", "car", "house", "tree", "boat", "bird", "horse", "chair", "table",
    "bottle", "bus", "train", "sofa", "sheep", "cow", "person", "plant", "bicycle", "screen",
)  # fmt: skip
"""As many categories as VOC has."""


class RandomEngine(Engine):
    """An engine that asks for no files of weights."""

    def __init__(self, parts: FullSizeParts, bank: Path) -> None:
        """Use parts on random weights, and a bank in a folder."""
        super().__init__(parts.preset, Bank(bank), models=cast(LoadedModels, parts.models))
        if parts.preset.proposals.source == "cutler":
            self._builder.parts.source = parts.source

    def _require_files(self, stages: Any) -> None:
        """Need none."""


def stocked(engine: Engine, built: Category, names: Sequence[str] = NAMES) -> Vocabulary:
    """Return a vocabulary of things whose prototype sets are in the bank: a built one's, each with noise of its own."""
    found = engine.bank.load(engine.category_key(built))
    card = engine.bank.card(engine.category_key(built))
    vocabulary = Vocabulary([Category(name, kind="thing") for name in names])
    for number, category in enumerate(vocabulary.categories):
        if not engine.has(category):
            engine.bank.save(
                engine.category_key(category), _varied(found, number), replace(card, category=category.name)
            )
    return vocabulary


def _varied(prototypes: PrototypeSet, seed: int) -> PrototypeSet:
    random = np.random.default_rng(seed)

    def side(one: Prototypes) -> Prototypes:
        spread = one.vectors.std() if one.vectors.size else 0.0
        noise = random.standard_normal(one.vectors.shape, dtype=np.float32)
        return replace(one, vectors=(one.vectors + spread * noise).astype(np.float32))

    return PrototypeSet(
        {
            name: FeatureSpacePrototypes(side(space.foreground), side(space.background))
            for name, space in prototypes.spaces.items()
        }
    )
