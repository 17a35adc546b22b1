import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.command import cli
from backend.command.lint import label_config_vocabulary, lint_vocabulary
from backend.errors import RequestError, UnusableLabelConfigError, UsageError
from converters.console import answering
from ovdiff.engines.contract import Progress
from ovdiff.forecasting.forecast import CategoryForecast, Finding, Forecast, PairForecast
from ovdiff.vocabulary import Category, Vocabulary
from tests.fakes.engine import FakeEngine

WORDS = Vocabulary(("red", "blue"))
ALARM = Finding("confused", ("red", "blue"), "'red' and 'blue' will be confused", "Merge them")


class Seer(FakeEngine):
    """Forecasts what is built, and finds what it is told to find."""

    findings: tuple[Finding, ...] = ()

    def forecast(self, vocabulary: Vocabulary, report: Progress | None = None) -> Forecast:
        if report is not None:
            report("red", 0.5)
        built = [category for category in vocabulary.categories if self.has(category)]
        known = [category in built for category in vocabulary.categories]
        categories = tuple(
            CategoryForecast(category.name, "thing", 8, 0.75, 0.5)
            if there
            else CategoryForecast(category.name, "thing")
            for category, there in zip(vocabulary.categories, known, strict=True)
        )
        figures = {"confused": 0.25, "told_apart": 1.0, "risk": 0.5} if all(known) else {}
        first, second = vocabulary.names[:2]
        shares = np.full((len(built), len(built) + 1), 1 / (len(built) + 1))
        return Forecast(categories, (PairForecast(first, second, 0.4, **figures),), shares, self.findings)


@pytest.fixture
def engine(tmp_path: Path) -> Seer:
    return Seer(tmp_path / "bank")


def test_what_is_missing_is_built_and_the_forecast_is_printed(engine: Seer, capsys: pytest.CaptureFixture[str]) -> None:
    lint_vocabulary(WORDS, engine)
    assert engine.built == ["red", "blue"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["category", "kind", "expected", "IoU", "own", "pixels", "images", "word"]
    assert lines[3].split() == ["red", "thing", "0.50", "0.75", "8", "not", "judged"]
    assert "pairs, the likeliest to be confused first:" in lines and lines[-1] == "findings: none"
    assert ["red", "blue", "0.50", "0.25", "1.00", "0.40"] in [line.split() for line in lines]


def test_without_building_only_names_are_compared(engine: Seer, capsys: pytest.CaptureFixture[str]) -> None:
    lint_vocabulary(WORDS, engine, build=False)
    assert engine.built == []
    printed = capsys.readouterr().out
    assert "pairs, the most alike names first:" in printed
    assert ["red", "blue", "-", "-", "-", "0.40"] in [line.split() for line in printed.splitlines()]


def test_findings_fail_a_strict_command_alone(engine: Seer, capsys: pytest.CaptureFixture[str]) -> None:
    engine.findings = (ALARM,)
    lint_vocabulary(WORDS, engine)
    assert "findings:\n1. 'red' and 'blue' will be confused. Merge them.\n" in capsys.readouterr().out
    with pytest.raises(RequestError, match="1 finding, and --strict allows none"):
        lint_vocabulary(WORDS, engine, strict=True)
    engine.findings = ()
    lint_vocabulary(WORDS, engine, strict=True)


def test_the_json_holds_the_whole_forecast_and_nothing_else_is_printed(
    engine: Seer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.build(Category("red"))
    engine.build(Category("blue"))
    engine.findings = (ALARM,)
    with answering(as_json=True):
        lint_vocabulary(WORDS, engine, picture=tmp_path / "matrix.png")
    found = json.loads(capsys.readouterr().out)
    assert found["confusion"]["columns"] == ["background", "red", "blue"] and len(found["confusion"]["shares"]) == 2
    assert found["categories"][0]["expected_iou"] == 0.5 and found["categories"][0]["word"] == "not judged"
    assert found["pairs"][0]["risk"] == 0.5 and found["findings"][0]["advice"] == "Merge them"
    assert (tmp_path / "matrix.png").is_file()


def test_a_picture_needs_a_confusion_matrix(engine: Seer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lint_vocabulary(WORDS, engine, picture=tmp_path / "matrix.png")
    assert f"picture: {tmp_path / 'matrix.png'}\n" in capsys.readouterr().out
    assert Image.open(tmp_path / "matrix.png").mode == "RGB"
    with pytest.raises(RequestError, match="fewer than two categories are built"):
        lint_vocabulary(Vocabulary(("a", "b")), engine, build=False, picture=tmp_path / "other.png")


def test_bad_input_is_refused_before_anything_is_built(engine: Seer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Name at least two categories: 'red' alone"):
        lint_vocabulary(Vocabulary(("red",)), engine)
    with pytest.raises(UsageError, match=r"--picture is 'matrix\.gif'; expected .* \.png"):
        lint_vocabulary(WORDS, engine, picture=Path("matrix.gif"))
    plain = FakeEngine(tmp_path / "bank")
    with pytest.raises(UsageError, match="The engine 'fake' of the preset 'fake' makes no forecasts"):
        lint_vocabulary(WORDS, plain)
    assert engine.built == plain.built == []


def test_categories_come_from_a_label_config(tmp_path: Path) -> None:
    config = tmp_path / "config.xml"
    labels = '<BrushLabels name="b" toName="i"><Label value="boat" ovdiff-prompts="ship;ferry"/><Label value="sea"/>'
    config.write_text(f'<View><Image name="i" value="$image"/>{labels}</BrushLabels></View>')
    found = label_config_vocabulary(config, 10)
    assert found.names == ("boat", "sea") and len(found.categories[0].phrases) in (1, 2)
    config.write_text('<View><Image name="i" value="$image"/></View>')
    with pytest.raises(UnusableLabelConfigError, match="no BrushLabels"):
        label_config_vocabulary(config, 10)
    with pytest.raises(UsageError, match=r"--label-config .*gone\.xml cannot be read"):
        label_config_vocabulary(tmp_path / "gone.xml", 10)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--categories", "red"], 2, "Name at least two categories"),
        (["--categories", "red, red"], 2, "Duplicate category: 'red'"),
        (["--label-config", "gone.xml"], 2, "gone.xml cannot be read"),
    ],
)
def test_the_command_says_what_is_wrong(
    arguments: list[str],
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("backend.engine.make_engine", lambda *_arguments: Seer(tmp_path / "bank"))
    assert cli.main(["lint", *arguments]) == status
    assert said in capsys.readouterr().err


def test_the_command_fails_by_findings_only_if_it_is_strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seer = Seer(tmp_path / "bank")
    seer.findings = (ALARM,)
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("backend.engine.make_engine", lambda *_arguments: seer)
    assert cli.main(["lint", "--categories", "red, blue"]) == 0
    assert cli.main(["lint", "--categories", "red, blue", "--strict"]) == 1
