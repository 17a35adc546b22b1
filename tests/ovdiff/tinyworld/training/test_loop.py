"""The training loop: by steps or by the clock, and paused and gone on with."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ovdiff.tinyworld.training import loop
from ovdiff.tinyworld.training.loop import PausedError, Place, Plan, to_input, train

PLAN = Plan(steps=6, batch=1, learning_rate=0.1, warmup=1, checkpoint_every=100)
Rates = list[float]


@pytest.fixture
def model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def stepping(model: nn.Module, seen: list[int]) -> loop.Step:
    def step(number: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        seen.append(number)
        return model(torch.from_numpy(rng.random((4, 3), dtype=np.float32))).square().mean(), {}

    return step


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that each look moves on by so many seconds."""

    def set_pace(seconds: float) -> None:
        ticks = itertools.count(step=seconds)
        monkeypatch.setattr(loop.time, "monotonic", lambda: next(ticks))

    return set_pace


def test_a_training_takes_its_plan_s_steps(model: nn.Linear, tmp_path: Path) -> None:
    seen: list[int] = []
    train("made", model, stepping(model, seen), PLAN, tmp_path)
    assert seen == list(range(6))


def test_a_training_with_a_clock_takes_its_seconds_and_not_its_plan_s_steps(
    model: nn.Linear, tmp_path: Path, clock: Callable[[float], None]
) -> None:
    seen: list[int] = []
    clock(1.0)  # three looks a step, after one at the beginning
    train("made", model, stepping(model, seen), PLAN, tmp_path, Place(seconds={"made": 20.0}))
    assert len(seen) == 10
    saved = torch.load(tmp_path / "made.pt", weights_only=True)
    assert saved["seconds"] >= 20 and saved["step"] == 10


def test_the_rate_falls_by_the_clock_where_there_is_one() -> None:
    rates = [loop._rate(number, PLAN, clock) for number, clock in ((3, 0.0), (3, 0.5), (3, 1.0))]
    assert rates == pytest.approx([1.0, 0.51, 0.02])
    assert loop._rate(5, PLAN, None) == pytest.approx(loop._rate(2, PLAN, 0.8))


def test_a_training_whose_time_is_over_is_paused_and_goes_on_to_the_same_weights(
    model: nn.Linear, tmp_path: Path
) -> None:
    seen: list[int] = []
    with pytest.raises(PausedError, match="'made' was paused at step 1 after"):
        train("made", model, stepping(model, seen), PLAN, tmp_path / "halves", Place(deadline=0.0))
    train("made", model, stepping(model, seen), PLAN, tmp_path / "halves")
    assert seen == list(range(6))
    torch.manual_seed(0)
    other = nn.Linear(3, 1)
    train("made", other, stepping(other, []), PLAN, tmp_path / "whole")
    assert torch.equal(model.weight, other.weight)


def test_a_finished_training_is_not_paused(model: nn.Linear, tmp_path: Path) -> None:
    train("made", model, stepping(model, []), PLAN, tmp_path)
    train("made", model, stepping(model, []), PLAN, tmp_path, Place(deadline=0.0))


def places_of_loading(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note where checkpoints are read to."""
    placed, load = list[str](), torch.load
    monkeypatch.setattr(torch, "load", lambda *given, **how: placed.append(how["map_location"]) or load(*given, **how))
    return placed


def test_training_resumes_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    placed = places_of_loading(monkeypatch)
    resumed = run(tmp_path / "broken", steps=-1, total=8)
    assert placed == ["cpu"]  # A GPU would be waited for at each parameter's count of steps, in every step.
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


def test_images_become_tensors_in_the_range_of_the_models() -> None:
    images = np.zeros((1, 2, 3, 3), np.uint8)
    images[0, 1, 2] = (0, 255, 51)
    tensor = to_input(images)
    assert tensor.shape == (1, 3, 2, 3)
    torch.testing.assert_close(tensor[0, :, 1, 2], torch.tensor([-1.0, 1.0, -0.6]))
