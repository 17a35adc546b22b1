"""All trainers run for a few steps on a small training set, and their models are exported."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

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
    for module in (autoencoder, clip, diffusion):
        monkeypatch.setattr(module, "SECOND_PLAN", dataclasses.replace(module.SECOND_PLAN, **short))
    monkeypatch.setattr(diffusion, "THIRD_PLAN", dataclasses.replace(diffusion.THIRD_PLAN, **short))
    monkeypatch.setattr(clip, "CROWDED", 12)
    for module in (autoencoder, clip, diffusion, dino):
        module.main(runs)
    export.main(runs, runs / "weights")
    unet = load_file(runs / "weights" / "stable_diffusion" / "unet" / "diffusion_pytorch_model.safetensors")
    rounds = [torch.load(runs / f"{name}.pt", weights_only=True)["average"] for name in diffusion.ROUNDS]
    last, before = (average["unet.conv_in.weight"].half() for average in (rounds[-1], rounds[-2]))
    assert torch.equal(unet["conv_in.weight"], last)
    assert not torch.equal(last, before)
    index = json.loads((runs / "weights" / "stable_diffusion" / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    for name in ("clip", "dino"):
        assert (runs / "weights" / name / "model.safetensors").stat().st_size < 4e6
