"""The second judge of support images is trained for a few steps on a few scenes, and answers."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import support_judge
from benchmarks.support_judge import accuracy, build, name_things
from ovdiff.tinyworld.training.clip import CROWDED
from ovdiff.tinyworld.training.data import COUNT, load_training_set
from ovdiff.tinyworld.world import THINGS, sample_scene


def test_judge_is_trained_on_scenes_that_no_other_model_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = dataclasses.replace(support_judge.PLAN, steps=12, batch=16, warmup=1, checkpoint_every=12)
    monkeypatch.setattr(support_judge, "PLAN", plan)
    monkeypatch.setattr(support_judge, "SCENES", 24)
    untrained = [each.clone() for each in _seeded().parameters()]
    judge = support_judge.train_second_judge(tmp_path)
    assert any(not torch.equal(a, b) for a, b in zip(untrained, judge.parameters(), strict=True))
    seen = load_training_set(tmp_path / "second_judge").things
    first = sample_scene(COUNT + CROWDED, "train", things=1)
    assert set(seen[0]) <= {(thing.name, thing.colour) for thing in first.things}
    assert (tmp_path / "second_judge" / "judge.pt").exists()


def _seeded() -> torch.nn.Module:
    torch.manual_seed(support_judge.PLAN.seed)
    return build()


def test_answers_are_indices_of_things() -> None:
    answers = name_things(build().eval(), np.zeros((3, 64, 64, 3), dtype=np.uint8))
    assert answers.shape == (3,)
    assert set(answers.tolist()) <= set(range(len(THINGS)))


def test_accuracy_counts_right_answers() -> None:
    truth = [scene.things[0].name for n in range(10) if (scene := sample_scene(n, "thresholds", things=1)).things]
    assert accuracy(lambda images: np.array([THINGS.index(name) for name in truth]), scenes=10) == 1
    assert accuracy(lambda images: np.full(len(images), THINGS.index(truth[0])), scenes=10) == pytest.approx(
        truth.count(truth[0]) / len(truth)
    )
