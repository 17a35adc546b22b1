"""A small engine on random weights, with a bank of four words; a working image has the size of its image."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from ovdiff.presets import Preset
from ovdiff.vocabulary import Category, Vocabulary

if TYPE_CHECKING:
    from ovdiff.engine import Engine
    from ovdiff.models.loaded import LoadedModels

ASKED = Vocabulary((Category("boat", kind="thing"), Category("water"), Category("red fish", kind="thing")))
ANCHOR = "fox"


@pytest.fixture(scope="session")
def plain(preset: Preset) -> Preset:
    """Eq. 4 alone: no prefilter, no PAMR, no clean-up, no anchors."""
    return replace(
        preset,
        name="plain",
        extractors=replace(preset.extractors, use=("clip", "dino")),
        matching=replace(preset.matching, extractors=("clip", "dino")),
        prefilter=replace(preset.prefilter, enabled=False),
        refine=replace(preset.refine, pamr=False, min_part_px=0, max_hole_px=0),
    )


@pytest.fixture(scope="session")
def engine(plain: Preset, models: "LoadedModels", tmp_path_factory: pytest.TempPathFactory) -> "Engine":
    from ovdiff.bank import Bank
    from ovdiff.engine import Engine

    engine = Engine(plain, Bank(tmp_path_factory.mktemp("bank")), models=models)
    for name in (*ASKED.categories, Category(ANCHOR)):
        engine.build(name)
    return engine


@pytest.fixture(scope="session")
def picture() -> NDArray[np.uint8]:
    """An image of 128 x 160 px, which is the working size; noise, so that every window sees something else."""
    return np.random.default_rng(3).integers(0, 256, (16, 20, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)


def variant(engine: "Engine", section: str, **changes: object) -> "Engine":
    """Return an engine on the same bank and models, with one section of the preset changed."""
    from ovdiff.engine import Engine

    preset = replace(engine.preset, **{section: replace(getattr(engine.preset, section), **changes)})  # type: ignore[arg-type]
    return Engine(preset, engine.bank, models=engine._models)
