"""All trainers run for a few steps on a small training set, and their models are exported."""

import dataclasses
import json
from pathlib import Path

import pytest

from ovdiff.tinyworld.training import autoencoder, clip, data, diffusion, dino, export


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    data.main(folder, count=24)
    return folder


def test_all_trainers_run_and_export(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"steps": 2, "batch": 4, "warmup": 1, "checkpoint_every": 2}
    for module in (autoencoder, clip, diffusion, dino):
        monkeypatch.setattr(module, "PLAN", dataclasses.replace(module.PLAN, **short))
    for module in (autoencoder, clip):
        monkeypatch.setattr(module, "SECOND_PLAN", dataclasses.replace(module.SECOND_PLAN, **short))
    monkeypatch.setattr(clip, "CROWDED", 12)
    for module in (autoencoder, clip, diffusion, dino):
        module.main(runs)
    export.main(runs, runs / "weights")
    index = json.loads((runs / "weights" / "stable_diffusion" / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    for name in ("clip", "dino"):
        assert (runs / "weights" / name / "model.safetensors").stat().st_size < 4e6
