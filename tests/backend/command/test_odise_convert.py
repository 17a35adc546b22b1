"""`ovdiff odise convert` says the licence first, and writes a head that the engine's loader reads."""

import json
from pathlib import Path

import pytest
import torch

from backend.command.odise_convert import convert
from backend.errors import UsageError
from converters.console import answering
from ovdiff.errors import WeightsError
from ovdiff.odise.head_file import read_card
from tests.ovdiff.odise.test_released import drawn, released_shapes

PRESET = """base = "odise"
name = "narrow"
[mask_generator]
bottleneck = 16
level_channels = 64
norm_groups = 8
hidden = 32
mask_channels = 32
encoder_ffn = 128
decoder_ffn = 256
[classifier]
embedding = 32
"""


@pytest.fixture
def preset(tmp_path: Path) -> str:
    (tmp_path / "narrow.toml").write_text(PRESET)
    return str(tmp_path / "narrow.toml")


def test_nothing_is_read_before_the_licence_is_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="--accept-licence"):
        convert(tmp_path / "no-such.pth", "odise", tmp_path / "head", None, accepted=False)
    assert "CC-BY-NC-SA-4.0. NON-COMMERCIAL: not for commercial use." in capsys.readouterr().out
    assert not (tmp_path / "head").exists()
    with pytest.raises(WeightsError, match=r"no-such.pth cannot be read"):
        convert(tmp_path / "no-such.pth", "odise", tmp_path / "head", None, accepted=True)


def test_a_head_says_its_licence_and_its_labels(tmp_path: Path, preset: str) -> None:
    torch.save({"model": drawn(released_shapes(8))}, tmp_path / "released.pth")
    convert(tmp_path / "released.pth", preset, tmp_path / "head", None, accepted=True)
    card = read_card(tmp_path / "head")
    assert card.training["licence"] == "CC-BY-NC-SA-4.0" and card.training["from"] == "released.pth"
    assert len(card.labels) == 133 and "sky" in card.words()
    labels = tmp_path / "labels.txt"
    labels.write_text("thing\tcar, automobile\nstuff\tsky\n")
    with pytest.raises(UsageError, match="holds a head that was made from something else"):
        convert(labels, preset, tmp_path / "head", None, accepted=True)
    convert(tmp_path / "released.pth", preset, tmp_path / "other", labels, accepted=True)
    assert read_card(tmp_path / "other").words() == {"car", "automobile", "sky"}


def test_what_was_converted_is_told_to_programs(
    tmp_path: Path, preset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"model": drawn(released_shapes(8))}, tmp_path / "released.pth")
    with answering(as_json=True):
        convert(tmp_path / "released.pth", preset, tmp_path / "head", None, accepted=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["head"], told["licence"], len(told["labels"])) == (str(tmp_path / "head"), "CC-BY-NC-SA-4.0", 133)
    assert told["numbers"] > 1000


def test_a_preset_of_the_first_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'paper' is of the engine 'ovdiff'; give one of ODISE"):
        convert(tmp_path / "released.pth", "paper", tmp_path / "head", None, accepted=True)
