import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from backend.command.calibrate import calibrate_preset
from backend.errors import RequestError, UsageError
from converters.console import answering
from ovdiff.engines import load_any_preset
from ovdiff.vocabulary import Category, Vocabulary
from ovdiff.vocabulary.kinds import KindDecision
from tests.fakes.engine import FakeEngine

WORDS = Vocabulary((Category("red"), Category("blue"), Category("white")))


class KindEngine(FakeEngine):
    """Red and blue are things, white is stuff."""

    def kinds(self, vocabulary: Vocabulary) -> tuple[KindDecision, ...]:
        names = (category.name for category in vocabulary.categories)
        return tuple(KindDecision(name, "stuff" if name == "white" else "thing", "table") for name in names)


@pytest.fixture
def engine(tmp_path: Path) -> KindEngine:
    return KindEngine(tmp_path / "bank", name="tinyworld")


def test_a_preset_with_other_scores_is_written(
    engine: KindEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.toml"
    calibrate_preset("tinyworld", WORDS, engine, out)
    assert engine.built == ["red", "blue", "white"]
    written = tomllib.loads(out.read_text())
    assert set(written) == {"base", "scores"} and written["base"] == "tinyworld"
    preset = load_any_preset(out)
    assert preset.scores.kind == "calibrated"  # type: ignore[attr-defined]
    # Each image is of one colour, so every region of its own word is right, and no word is mistaken for another one.
    assert written["scores"]["things"]["intercept"] == pytest.approx(np.log(9), rel=1e-3)
    printed = capsys.readouterr().out
    assert "things: 8 regions of support images, 8 of them right; fewer than 10 right or wrong ones" in printed
    assert "stuff: 4 regions" in printed and f"use it as --preset {out}" in printed


def test_what_was_fitted_is_told_to_programs(
    engine: KindEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(as_json=True):
        calibrate_preset("tinyworld", WORDS, engine, tmp_path / "mine.toml")
    told = json.loads(capsys.readouterr().out)
    assert told["things"] == {"regions": 8, "right": 8} and told["stuff"]["regions"] == 4
    assert told["preset"] == str(tmp_path / "mine.toml")


def test_what_cannot_be_calibrated_is_said_before_anything_is_built(engine: KindEngine, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mine\.txt must end with \.toml"):
        calibrate_preset("tinyworld", WORDS, engine, tmp_path / "mine.txt")
    with pytest.raises(UsageError, match="at least two words"):
        calibrate_preset("tinyworld", Vocabulary(WORDS.categories[:1]), engine, tmp_path / "mine.toml")
    plain = FakeEngine(tmp_path / "bank")
    with pytest.raises(UsageError, match="The engine 'fake' of the preset 'fake' keeps no support images"):
        calibrate_preset("tinyworld", WORDS, plain, tmp_path / "mine.toml")
    assert engine.built == plain.built == []


def test_a_file_that_cannot_be_written_is_said(engine: KindEngine, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be written"):
        (tmp_path / "a file").touch()
        calibrate_preset("tinyworld", WORDS, engine, tmp_path / "a file" / "mine.toml")
