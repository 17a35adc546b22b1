from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ovdiff.tinyworld.training.loop import Plan, to_input, train


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


def test_images_become_tensors_in_the_range_of_the_models() -> None:
    images = np.zeros((1, 2, 3, 3), np.uint8)
    images[0, 1, 2] = (0, 255, 51)
    tensor = to_input(images)
    assert tensor.shape == (1, 3, 2, 3)
    torch.testing.assert_close(tensor[0, :, 1, 2], torch.tensor([-1.0, 1.0, -0.6]))
