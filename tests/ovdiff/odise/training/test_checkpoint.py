from pathlib import Path

import pytest
import torch

from ovdiff.errors import TrainingError
from ovdiff.odise.training.checkpoint import Checkpoint

STATE = {"head": {"a": torch.arange(3.0)}, "optimizer": {"lr": 0.1}, "average": {"a": torch.zeros(3)}, "step": 7}


def test_it_holds_what_was_written(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "c.pt", {"the seed": "0"})
    assert checkpoint.steps() == 0 and checkpoint.read() == {}
    checkpoint.write(STATE)
    assert checkpoint.steps() == 7
    assert torch.equal(checkpoint.read()["head"]["a"], torch.arange(3.0))
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


def test_one_of_another_training_is_refused_and_what_differs_is_named(tmp_path: Path) -> None:
    Checkpoint(tmp_path / "c.pt", {"the seed": "0", "the images": "x", "the labels": "y"}).write(STATE)
    with pytest.raises(TrainingError, match=r"another training: the images and the seed differ. Delete it to begin"):
        Checkpoint(tmp_path / "c.pt", {"the seed": "1", "the images": "z", "the labels": "y"}).read()
    with pytest.raises(TrainingError, match="the seed differ"):
        Checkpoint(tmp_path / "c.pt", {"the images": "x", "the labels": "y"}).read()


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("executed"),))  # type: ignore[return-value]


@pytest.mark.parametrize("harm", ["cut", "other", "pickle"])
def test_a_damaged_one_is_refused_and_no_code_of_it_runs(
    harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint(tmp_path / "c.pt")
    checkpoint.write(STATE)
    if harm == "cut":
        checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:200])
    else:
        torch.save({"step": 3} if harm == "other" else {**STATE, "harm": _Harmful()}, checkpoint.path)
    with pytest.raises(TrainingError, match=r"is damaged .*Delete it to begin anew"):
        checkpoint.read()
    assert not Path("executed").exists()
