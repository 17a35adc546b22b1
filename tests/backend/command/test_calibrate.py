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


@pytest.mark.parametrize("out", ["mine.toml", "./other/../mine.toml", "base.toml"])
def test_a_preset_is_not_written_over_itself_or_its_base(
    engine: KindEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    """Its own fields were lost, and it became its own base, which no command could read any more."""
    monkeypatch.chdir(tmp_path)
    Path("other").mkdir()
    Path("base.toml").write_text('base = "tinyworld"\nname = "base"\n')
    Path("mine.toml").write_text('base = "base.toml"\nname = "mine"\n')
    with pytest.raises(UsageError, match=r"--out would replace .*, which the preset 'mine.toml' is read from"):
        calibrate_preset("mine.toml", WORDS, engine, Path(out))
    assert engine.built == [] and load_any_preset("mine.toml").name == "mine"


def test_a_base_is_found_from_any_folder(engine: KindEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('base = "tinyworld"\nname = "mine"\n')
    calibrate_preset("mine.toml", WORDS, engine, Path("fitted", "mine.toml"))
    monkeypatch.chdir("/")
    assert load_any_preset(tmp_path / "fitted" / "mine.toml").name == "mine"


def test_a_file_that_cannot_be_written_is_said_before_anything_is_built(
    engine: KindEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UsageError, match=r"nothing can be written in '.*/a file'"):
        calibrate_preset("tinyworld", WORDS, engine, tmp_path / "a file" / "mine.toml")
    with pytest.raises(UsageError, match=r"folder\.toml is a folder; expected the name of a file"):
        calibrate_preset("tinyworld", WORDS, engine, tmp_path / "folder.toml")
    assert engine.built == []

    def refuse(path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("backend.command.calibrate.write_whole", refuse)
    with pytest.raises(RequestError, match=r"mine\.toml cannot be written: .*No space left"):
        calibrate_preset("tinyworld", WORDS, engine, tmp_path / "mine.toml")
