from pathlib import Path

import pytest
from PIL import Image

from backend.command import show
from backend.command.show import show_prototypes
from backend.command.support_sheet import draw_support_sheet
from backend.errors import UsageError
from ovdiff.bank import Bank
from ovdiff.bank.support import SupportSet
from ovdiff.vocabulary import Category
from tests.fakes.engine import FakeEngine


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    engine = FakeEngine(tmp_path / "bank")
    engine.build(Category("fire/engine", ("red car",)))
    return engine


def test_a_sheet_is_written(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    show_prototypes(Bank(engine.folder), "fire/engine", engine, None)
    assert capsys.readouterr().out == "sheet: fire_engine.support.png\n"
    assert Image.open(tmp_path / "fire_engine.support.png").mode == "RGB"
    (key,) = Bank(engine.folder).keys()
    show_prototypes(Bank(engine.folder), key[:8], engine, tmp_path / "named.png")
    assert (tmp_path / "named.png").read_bytes() == (tmp_path / "fire_engine.support.png").read_bytes()


def test_the_sheet_says_which_prompt_and_seed_each_image_is_of(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def draw(support: SupportSet, title: str, captions: list[str]) -> Image.Image:
        said.extend([*title.splitlines()[1:], *captions])
        return draw_support_sheet(support, title, captions)

    monkeypatch.setattr(show, "draw_support_sheet", draw)
    engine.build(Category("sea", ("wave", "water")))
    show_prototypes(Bank(engine.folder), "sea", engine, tmp_path / "sheet.png")
    assert said.pop(0) == "the word is known: CLIP agrees with 2 of 2 support images"
    assert said == ["prompt 1: a wave", "prompt 2: a water", "0: prompt 1, seed\n7", "1: prompt 2, seed\n8"]


def test_of_several_sets_the_presets_own_is_shown(engine: FakeEngine, tmp_path: Path) -> None:
    other = FakeEngine(engine.folder, "other")
    with pytest.raises(UsageError, match=r"\(fire/engine\): made with another preset than this one"):
        show_prototypes(Bank(engine.folder), "fire/engine", other, tmp_path / "sheet.png")
    other.build(Category("fire/engine", ("red car",)))
    show_prototypes(Bank(engine.folder), "fire/engine", other, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").is_file()


@pytest.fixture
def crabs(engine: FakeEngine) -> tuple[str, str]:
    """The keys of two sets of the word crab: by itself, and with prompts."""
    versions = Category("crab"), Category("crab", ("red crab", "beach crab"))
    for version in versions:
        engine.build(version)
    return engine.category_key(versions[0]), engine.category_key(versions[1])


def test_of_two_sets_of_a_word_the_one_in_use_is_shown(
    engine: FakeEngine, crabs: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first one was shown, without a word about the other."""
    bank, out = Bank(engine.folder), tmp_path / "sheet.png"
    show_prototypes(bank, "crab", engine, out)
    said = capsys.readouterr().out.splitlines()
    assert sorted(said[1:3]) == sorted(
        [
            f'{crabs[0][:12]}  crab                  --categories "crab"',
            f"{crabs[1][:12]}  red crab; beach crab  nothing that is known here",
        ]
    )
    assert said[3] == f"sheet: {out} of {crabs[0][:12]}"

    show_prototypes(bank, "crab", engine, out, {"3.1": (Category("crab", ("red crab", "beach crab")),), "4.1": ()})
    said = capsys.readouterr().out.splitlines()
    assert f"{crabs[1][:12]}  red crab; beach crab  project 3.1" in said
    assert said[-1] == f"sheet: {out} of {crabs[1][:12]}"


def test_which_of_two_used_sets_is_asked(engine: FakeEngine, crabs: tuple[str, str], tmp_path: Path) -> None:
    bank, out = Bank(engine.folder), tmp_path / "sheet.png"
    both = {"3.1": (Category("crab"),), "4.1": (Category("crab", ("red crab", "beach crab")),)}
    with pytest.raises(
        UsageError, match=r"'crab' has 2 sets, and 2 of them are in use: give the key of one, [0-9a-f]{12} or"
    ):
        show_prototypes(bank, "crab", engine, out, both)
    bank.remove(crabs[0])
    engine.build(Category("crab", ("blue crab",)))
    with pytest.raises(UsageError, match="'crab' has 2 sets, and none of them are in use"):
        show_prototypes(bank, "crab", engine, out)
    show_prototypes(bank, crabs[1], engine, out)
    assert out.is_file()


def test_what_cannot_be_shown_is_said(engine: FakeEngine, tmp_path: Path) -> None:
    bank = Bank(engine.folder)
    with pytest.raises(UsageError, match=r"expected the name of a file that ends in \.png"):
        show_prototypes(bank, "fire/engine", engine, tmp_path / "sheet.jpg")
    (key,) = bank.keys()
    (bank.folder / f"{key}.json").write_text("{")
    with pytest.raises(UsageError, match="not JSON"):
        show_prototypes(bank, key, engine, None)
