"""Each trainer for a few steps on a small training set: it runs, learns something, resumes, and exports."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ovdiff.tinyworld.training import autoencoder, clip, data, diffusion, dino, export, tokenizer
from ovdiff.tinyworld.training.loop import Plan, train
from ovdiff.tinyworld.world import NAMES, THINGS


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    data.main(folder, count=24)
    return folder


def test_the_training_set_says_what_is_seen(runs: Path) -> None:
    training_set = data.load_training_set(runs)
    assert training_set.images.shape == (24, 64, 64, 3)
    assert training_set.label_maps.max() < len(NAMES)
    for i, label_map in enumerate(training_set.label_maps):
        named = {name for name, _ in training_set.things[i]} | set(training_set.regions[i])
        assert named <= {NAMES[label] for label in np.unique(label_map)}


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


def test_training_resumes_where_it_stopped(tmp_path: Path) -> None:
    def run(folder: Path, steps: int, total: int) -> torch.nn.Module:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)
        plan = Plan(steps=total, batch=4, learning_rate=0.1, warmup=1, checkpoint_every=1)

        def step(number: int, rng: np.random.Generator) -> tuple[torch.Tensor, dict[str, float]]:
            if number == steps:
                raise KeyboardInterrupt
            x = torch.from_numpy(rng.normal(size=(4, 3)).astype(np.float32))
            loss = ((model(x).float() - x.sum(1, keepdim=True)) ** 2).mean()
            return loss, {"loss": loss.item()}

        return train("line", model, step, plan, folder)

    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    whole = run(tmp_path / "whole", steps=-1, total=8)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", steps=5, total=8)
    resumed = run(tmp_path / "broken", steps=-1, total=8)
    assert torch.equal(whole.state_dict()["weight"], resumed.state_dict()["weight"])


def test_a_checkpoint_that_cannot_be_written_keeps_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(number: int, rng: np.random.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        if number == 1:
            monkeypatch.setattr(torch, "save", half)
        return model(torch.ones(1, 3)).float().sum(), {}

    def half(state: object, file: Any) -> None:
        file.write(b"half")
        raise OSError("disk full")

    model = torch.nn.Linear(3, 1)
    plan = Plan(steps=2, batch=1, learning_rate=0.1, warmup=1, checkpoint_every=1)
    with pytest.raises(OSError, match="disk full"):
        train("line", model, step, plan, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["line.pt"]
    assert torch.load(tmp_path / "line.pt", weights_only=True)["step"] == 1


def test_attention_is_supervised_at_the_noun_and_at_its_colour() -> None:
    targets = diffusion.attention_targets("a photo of a red ball with sky", [("ball", "red")])
    words = tokenizer.build().tokenize("a photo of a red ball with sky")
    named = [(words[position - 1].removesuffix("</w>"), NAMES[name]) for position, name in targets]
    assert named == [("ball", "ball"), ("red", "ball"), ("sky", "sky")]


def test_colours_of_two_things_of_one_name_are_not_supervised() -> None:
    targets = diffusion.attention_targets("a red ball and a blue ball", [("ball", "red"), ("ball", "blue")])
    assert [position for position, _ in targets] == [3, 7]


def test_attention_loss_prefers_the_mask() -> None:
    label_maps = np.full((1, 64, 64), NAMES.index("sky"), dtype=np.uint8)
    label_maps[:, :32] = NAMES.index("ball")
    inside, outside = torch.full((1, 64, 4), 1e-3), torch.full((1, 64, 4), 1e-3)
    inside[0, :32, 2] = 1
    outside[0, 32:, 2] = 1
    targets = [[(2, NAMES.index("ball"))]]
    good = diffusion.attention_loss([inside], targets, label_maps)
    assert good < 0.1 < diffusion.attention_loss([outside], targets, label_maps)


def test_matched_places_of_a_view_with_itself_are_its_own_patch_centres() -> None:
    frame = dino.sample_views(2)
    places, seen = dino.matched_places(frame, frame, 8)
    assert seen.all()
    assert torch.allclose(places[0, 0], torch.tensor([-0.875, -0.875]), atol=1e-5)


def test_sinkhorn_gives_every_row_one_and_every_prototype_its_share() -> None:
    share = dino.sinkhorn(torch.rand(60, 6))
    assert torch.allclose(share.sum(dim=1), torch.ones(60))
    assert share.sum(dim=0).std() < 3


def test_rivals_of_the_exact_caption_are_wrong() -> None:
    for seed in range(10):
        exact, *wrong = clip._rivals(np.random.default_rng(seed), [("ball", "red"), ("tree", "green")])

        def things(caption: str) -> set[str]:
            return set(caption.split()) & set(THINGS)

        assert things(exact) == {"ball", "tree"}
        assert all(things(caption) != {"ball", "tree"} for caption in wrong)


def test_a_caption_true_of_another_image_is_no_negative() -> None:
    logits = torch.tensor([[5.0, 5.0], [0.0, 5.0]])
    shared = torch.tensor([[True, True], [False, True]])
    assert clip._contrast(logits, shared) < clip._contrast(logits, torch.eye(2, dtype=torch.bool))


@pytest.mark.parametrize("word", ["zebra", "ω", "naïve", "c-3po"])
def test_any_word_tokenises_without_loss(word: str) -> None:
    words = tokenizer.build()
    ids = words(word).input_ids[1:-1]
    assert ids
    assert words.unk_token_id not in ids
    assert words.decode(ids).replace(" ", "") == word
