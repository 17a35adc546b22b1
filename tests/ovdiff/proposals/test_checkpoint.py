import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ovdiff.errors import WeightsError
from ovdiff.proposals.checkpoint import load_weights, read_checkpoint


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("was_run",)


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {"weight": _Code()}}, "torch.pth")
    Path("plain.pkl").write_bytes(pickle.dumps({"model": {"weight": _Code()}}, protocol=2))
    for name in ("torch.pth", "plain.pkl"):
        with pytest.raises(WeightsError, match=rf"{name} cannot be read as a checkpoint.*weights_only=True"):
            read_checkpoint(Path(name))
    assert not Path("was_run").exists()


@pytest.mark.parametrize("name", ["broken.pth", "broken.safetensors", "empty.pth", "empty.safetensors"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"" if "empty" in name else b"\x80\x02 this is no checkpoint, whatever its name says")
    with pytest.raises(WeightsError, match=f"{name} cannot be read as a checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"weight": 3}}, "holds something of type int under 'weight'; expected nothing but tensors"),
        ({"model": {}}, "holds nothing; expected tensors by name"),
        ([torch.zeros(1)], "holds something of type list; expected tensors by name"),
        ({"optimizer": {"lr": 1.0}}, "holds something of type dict under 'optimizer'"),
    ],
)
def test_anything_but_tensors_by_name_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(tmp_path / "odd.pth")


def test_weights_that_do_not_fit_are_named_and_counted() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    weights = {"0.weight": torch.zeros(2, 2), "0.bias": torch.zeros(3), "2.weight": torch.zeros(1)}
    message = (
        r"odd\.pth is not a checkpoint of this Sequential with its 4 entries: 2 missing, such as '1\.bias'; "
        r"1 unknown, such as '2\.weight'; 1 of another shape, such as '0\.weight' \(2, 2\) instead of \(3, 2\)"
    )
    with pytest.raises(WeightsError, match=message):
        load_weights(model, weights, Path("odd.pth"))


def test_constants_of_old_checkpoints_are_no_weights() -> None:
    model = nn.Linear(1, 1, bias=False)
    constants = ("pixel_mean", "pixel_std", "proposal_generator.anchor_generator.cell_anchors.0")
    weights = {"weight": torch.full((1, 1), 3.0), **dict.fromkeys(constants, torch.zeros(3))}
    load_weights(model, weights, Path("old.pth"))
    assert model.weight.item() == 3.0
