"""An engine of the embedded world with few quick drawings, and annotated scenes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ovdiff.bank import Bank
from ovdiff.learning.annotation import Annotation
from ovdiff.presets import Preset, load_preset
from ovdiff.tinyworld.world import Rendering, render, sample_scene
from ovdiff.vocabulary import Category, Vocabulary

if TYPE_CHECKING:
    from ovdiff.engine import Engine
    from ovdiff.models.loaded import LoadedModels

WORDS = Vocabulary(["ball", "mug", "sky", "grass"])


@pytest.fixture(scope="session")
def quick() -> Preset:
    preset = load_preset("tinyworld")
    generation = replace(preset.generation, images=2, steps=2)
    anchors = replace(preset.anchors, words=(), prototypes=())
    return replace(preset, generation=generation, anchors=anchors)


@pytest.fixture(scope="session")
def built(quick: Preset, models: LoadedModels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank with the prototypes of all words."""
    from ovdiff.engine import Engine

    folder = tmp_path_factory.mktemp("learning") / "bank"
    engine = Engine(quick, Bank(folder), models=models)
    for word in WORDS.categories:
        engine.build(word)
    return folder


@pytest.fixture
def engine(quick: Preset, built: Path, models: LoadedModels, tmp_path: Path) -> Engine:
    """An engine on a copy of that bank, which has no lesson."""
    from ovdiff.engine import Engine

    shutil.copytree(built, tmp_path / "bank")
    return Engine(quick, Bank(tmp_path / "bank"), models=models)


def scene(number: int, size_px: int = 96) -> Rendering:
    """Return a scene of two things."""
    return render(sample_scene(number, "thresholds", things=2), size_px)


def annotation(drawn: Rendering, vocabulary: Vocabulary = WORDS) -> Annotation:
    """Return the truth about a scene; where no word of the vocabulary is, there is no label."""
    labels = np.zeros(drawn.image.shape[:2], np.int32)
    for number, category in enumerate(vocabulary.categories, start=1):
        labels[drawn.mask(category.phrases[0])] = number
    return Annotation(labels, vocabulary)


def renamed(vocabulary: Vocabulary) -> Vocabulary:
    """Return the same categories under other names, in another order."""
    return Vocabulary([Category(f"my {each.name}", each.phrases) for each in reversed(vocabulary.categories)])
