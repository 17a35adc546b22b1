import json
import shutil
from pathlib import Path

import pytest

from backend.command.diff import diff_prototypes
from backend.errors import UsageError
from converters.console import answering
from ovdiff.bank import Bank
from ovdiff.vocabulary import Category
from tests.backend.command.conftest import run_prototypes
from tests.fakes.engine import FakeEngine


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    engine = FakeEngine(tmp_path / "bank")
    for name in ("red", "blue"):
        engine.build(Category(name))
    return engine


def _said(capsys: pytest.CaptureFixture[str], bank: Bank, first: object, second: object) -> str:
    capsys.readouterr()
    diff_prototypes(bank, str(first), str(second))
    return capsys.readouterr().out


def test_two_sets(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    bank = Bank(engine.folder)
    lines = _said(capsys, bank, "red", "blue").splitlines()
    assert lines[1] == "  phrases: red -> blue"
    assert lines[-2].split() == ["clip", "foreground", "1.000", "1.000", "class", "1.000"]
    with answering(as_json=True):
        found = json.loads(_said(capsys, bank, "red", "blue"))
    assert found["first"]["category"] == "red" and found["cosines"][0]["moved"] == pytest.approx(1)
    assert "  their cards say the same" in _said(capsys, bank, "red", "red")


def test_two_banks(engine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank, other = Bank(engine.folder), tmp_path / "other"
    shutil.copytree(engine.folder, other)
    assert _said(capsys, bank, engine.folder, other) == "the same in both: 2 sets\n"
    Bank(other).remove(engine.category_key(Category("red")))
    FakeEngine(other, "changed").build(Category("Red"))
    FakeEngine(other).build(Category("green"))
    said = _said(capsys, bank, engine.folder, other).splitlines()
    assert said[0] == "the same in both: 1 sets" and said[1].startswith(f"only in {other}: ")
    assert said[1].endswith("(green)") and "  preset: fake -> changed" in said
    with answering(as_json=True):
        found = json.loads(_said(capsys, bank, engine.folder, other))
    assert found["same"] == 1 and len(found["changed"]) == 1 and found["only_first"] == []


def test_what_cannot_be_compared_is_said(engine: FakeEngine) -> None:
    bank = Bank(engine.folder)
    with pytest.raises(UsageError, match="one is a folder and one is not; name two banks or two sets"):
        diff_prototypes(bank, str(engine.folder), "red")
    engine.build(Category("red", ("another red",)))
    with pytest.raises(UsageError, match=r"'red' has 2 sets: [0-9a-f]{12} \(not curated\), .*; name one by its key"):
        diff_prototypes(bank, "red", "blue")


def test_a_curation_is_said_in_words(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_prototypes(capsys, "reject", "boat", "1")
    run_prototypes(capsys, "build", "boat")
    plain, curated = (key for line in ("", ": 1 rejected") for key in _keys(capsys, line))
    said = run_prototypes(capsys, "diff", plain, curated)
    assert "  images rejected: none -> 1" in said
    assert float(said[-2].split()[2]) < 0.9999


def _keys(capsys: pytest.CaptureFixture[str], curation: str) -> list[str]:
    listed = run_prototypes(capsys, "list")
    curated = [line.split()[0] for line in listed if line.endswith("(boat) is curated: 1 rejected")]
    every = [line.split()[0] for line in listed[1:3]]
    return curated if curation else [key for key in every if key not in curated]
