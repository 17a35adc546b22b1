"""A category that is built once, on small models with random weights, for tests that change what it means."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ovdiff.bank import Bank
from ovdiff.presets import Preset

if TYPE_CHECKING:
    from ovdiff.engine import Engine
    from ovdiff.models.loaded import LoadedModels


@pytest.fixture(scope="session")
def built(preset: Preset, models: LoadedModels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank in which boat is built, and nothing is changed."""
    from ovdiff.engine import Engine

    folder = tmp_path_factory.mktemp("built")
    Engine(clip_alone(preset), Bank(folder), models=models).build("boat")
    return folder


@pytest.fixture
def engine(
    preset: Preset, models: LoadedModels, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Engine:
    """An engine on a copy of that bank, which cannot draw."""
    from ovdiff.engine import Engine

    def refuse(*_: object) -> Any:
        raise AssertionError("something is drawn")

    monkeypatch.setattr("ovdiff.building.generation.diffusion.SupportGenerator.generate", refuse)
    return Engine(clip_alone(preset), Bank(shutil.copytree(built, tmp_path / "bank")), models=models)


def clip_alone(preset: Preset) -> Preset:
    """Return the preset with CLIP as the only extractor."""
    return replace(preset, extractors=replace(preset.extractors, use=("clip",)))
