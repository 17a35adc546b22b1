import io
import json
import sys
from pathlib import Path

import pytest

from backend.command.cli import main
from backend.command.prototypes import (
    anchors_of,
    build_missing,
    build_prototypes,
    list_prototypes,
    read_categories,
    remove_prototypes,
    say_aside,
    say_missing_anchors,
    support_store,
)
from backend.command.stored_sets import stored_sets
from backend.errors import RequestError, UsageError
from converters.console import answering
from ovdiff.bank import Bank
from ovdiff.bank.judgement import ADVICE
from ovdiff.curation.store import CurationStore
from ovdiff.errors import BankError, VocabularyError, WeightsError
from ovdiff.vocabulary import Category, Vocabulary
from tests.fakes.engine import DrawingAheadEngine, FakeEngine


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return FakeEngine(tmp_path / "bank")


@pytest.fixture
def bank(engine: FakeEngine) -> Bank:
    return Bank(engine.folder)


def test_categories_are_names_with_optional_prompts() -> None:
    vocabulary = read_categories("boat, water=sea; lake ,")
    assert vocabulary.categories == (Category("boat"), Category("water", ("sea", "lake")))
    with pytest.raises(VocabularyError, match="The vocabulary is empty"):
        read_categories(" , ")


def test_only_missing_prototypes_are_built(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.build(Category("red"))
    build_prototypes(read_categories("red, blue").categories, engine)
    assert engine.built == ["red", "blue"]
    ready, built = capsys.readouterr().out.splitlines()
    assert ready == f"red: ready, {engine.category_key(Category('red'))[:12]}"
    assert built.startswith("blue: built in 0.")


class EngineOfCurations(FakeEngine):
    """An engine in whose keys are the curations beside the bank, as in `ovdiff.bank.recipe`."""

    def category_key(self, category: Category) -> str:
        CurationStore(self.folder).of(category.name)
        return super().category_key(category)


@pytest.mark.parametrize("as_json", [False, True])
def test_one_category_whose_curation_cannot_be_read_is_told_and_the_others_are_built(
    tmp_path: Path, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = EngineOfCurations(tmp_path / "bank")
    (tmp_path / "bank/curations").mkdir(parents=True)
    (tmp_path / "bank/curations/red.toml").write_text("format = ")
    with (
        answering(as_json=as_json),
        pytest.raises(RequestError, match=r"^1 of 2 categories could not .* built: red\.$"),
    ):
        build_prototypes(read_categories("red, blue").categories, engine)
    said = capsys.readouterr()
    assert engine.built == ["blue"] and said.err.startswith("ovdiff: red: The curation ")
    if as_json:
        found = json.loads(said.out)
        assert [(each["key"] == "", each["is_ready"], each["error"] == "") for each in found] == [
            (True, False, False),
            (False, True, True),
        ]


def test_ctrl_c_asks_the_bank_for_nothing_more_and_tells_how_to_go_on(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        monkeypatch.setattr(engine, "has", lambda _: pytest.fail("its storage may be what was waited for"))
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "build", interrupt)
    with answering(as_json=True), pytest.raises(KeyboardInterrupt):
        build_prototypes(read_categories("red, blue").categories, engine)
    assert capsys.readouterr().err.endswith("are stored: the same command goes on with the others.\n")


def test_categories_are_drawn_together_where_the_engine_does_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = DrawingAheadEngine(tmp_path / "bank", failing=frozenset({"blue"}))
    engine.build(Category("red"))
    with pytest.raises(RequestError, match="1 of 5 categories could not be built: blue"):
        build_prototypes(read_categories("red, green, blue, white, yellow, boat").categories, engine)
    assert engine.ahead == [["green", "blue", "white"], ["yellow", "boat"]]
    assert engine.built == ["red", "green", "white", "yellow", "boat"]
    assert capsys.readouterr().out.count("built in") == 4


def test_a_single_category_is_not_drawn_ahead(tmp_path: Path) -> None:
    engine = DrawingAheadEngine(tmp_path / "bank")
    build_missing([Category("red")], engine)
    build_missing([Category(name) for name in ("blue", "green")], FakeEngine(tmp_path / "bank"))
    assert engine.ahead == [] and engine.built == ["red"]


class AnchoredEngine(FakeEngine):
    """An engine with two anchors, of which "sea" means the same as "water"."""

    def anchors(self) -> tuple[Category, ...]:
        return Category("sea"), Category("sky")

    def fingerprint_without_anchors(self) -> str:
        return self.fingerprint()

    def anchors_aside(self, vocabulary: Vocabulary) -> tuple[tuple[str, str], ...]:
        return (("sea", "water"), ("sky", "Sky")) if "water" in vocabulary.names else ()


def test_anchors_are_built_like_categories_and_those_that_are_missing_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = AnchoredEngine(tmp_path / "bank")
    engine.build(Category("sky"))
    say_missing_anchors(engine)
    said = capsys.readouterr().err
    assert "1 of 2 anchors are not built" in said
    assert "ovdiff prototypes build --anchors" in said
    build_prototypes(anchors_of(engine), engine)
    assert engine.built == ["sky", "sea"]
    capsys.readouterr()
    say_missing_anchors(engine)
    assert capsys.readouterr().err == ""


def test_anchors_that_step_aside_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = AnchoredEngine(tmp_path / "bank")
    say_aside(read_categories("water, sky"), engine)
    assert capsys.readouterr().out == "anchors that mean the same as a word of yours step aside: 'sea' for 'water'\n"
    say_aside(read_categories("tree"), engine)
    assert capsys.readouterr().out == ""


def test_a_preset_without_anchors_has_none_to_build(engine: FakeEngine) -> None:
    with pytest.raises(
        UsageError, match=r"has no anchors to build; leave out --anchors, or name words as anchors.proto"
    ):
        anchors_of(engine)
    say_missing_anchors(engine)


def test_the_stages_are_shown_on_a_terminal(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    engine.build_seconds = 0.2  # a bar is drawn ten times a second
    build_missing(read_categories("red, blue").categories, engine)
    assert "red, extracting:  25%|" in terminal.getvalue()
    assert "blue, extracting:  75%|" in terminal.getvalue()


def test_a_category_that_fails_is_told_and_the_others_are_built(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.failing = frozenset({"green"})
    with pytest.raises(RequestError, match="1 of 2 categories could not be built: green"):
        build_missing(read_categories("green, red").categories, engine)
    assert engine.built == ["red"]
    assert capsys.readouterr().err == "ovdiff: green: No support image of 'green' has any foreground.\n"


def test_without_weights_nothing_else_is_tried(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fail(category: Category, progress: object) -> None:
        tried.append(category.name)
        raise WeightsError("no weights")

    monkeypatch.setattr(engine, "build", fail)
    with pytest.raises(WeightsError):
        build_missing(read_categories("green, red").categories, engine)
    assert tried == ["green"]


def test_the_bank_is_listed(engine: FakeEngine, bank: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    list_prototypes(bank)
    assert capsys.readouterr().out == (
        f"no prototypes in the bank {bank.folder}; an engine of another package may keep its own elsewhere\n"
    )
    build_missing(read_categories("boat=red boat;ship, Water").categories, engine)
    capsys.readouterr()
    list_prototypes(bank)
    header, water, boat = capsys.readouterr().out.splitlines()
    assert header.split() == ["key", "category", "images", "refused", "word", "KiB", "preset", "prompts"]
    assert water.split()[1:6] == ["Water", "2/2", "1", "known", "2/2"]
    assert boat.endswith("  fake    red boat; ship")


def test_doubtful_words_are_listed_with_what_to_try(
    engine: FakeEngine, bank: Bank, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.doubtful = frozenset({"crab"})
    build_missing(read_categories("boat, crab").categories, engine)
    boat, crab = capsys.readouterr().out.splitlines()
    assert "doubtful" not in boat
    said = f"CLIP agrees with 0 of 2 support images, and sees 'mug' in 2. {ADVICE}."
    assert crab.endswith(f", doubtful: {said}")
    list_prototypes(bank)
    _, *rows, last = capsys.readouterr().out.splitlines()
    assert [row.split()[4:6] for row in rows] == [["known", "2/2"], ["doubtful", "0/2"]]
    assert last == f"{engine.category_key(Category('crab'))[:12]} (crab) is doubtful: {said}"
    with answering(as_json=True):
        list_prototypes(bank)
    listed = json.loads(capsys.readouterr().out)
    assert [(item["word"], item["judgement"]["agreeing"]) for item in listed] == [("known", 2), ("doubtful", 0)]


def test_a_set_from_before_is_judged_by_building_it_and_not_judged_until_then(
    engine: FakeEngine, bank: Bank, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.doubtful = frozenset({"crab"})
    crab = Category("crab")
    engine.build(crab)
    path = bank.folder / f"{engine.category_key(crab)}.json"
    path.write_text(
        json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "judgement"})
    )
    list_prototypes(bank)
    _, row = capsys.readouterr().out.splitlines()
    assert row.split()[4:6] == ["not", "judged"]
    build_prototypes([crab], engine)
    assert ", doubtful: CLIP agrees with 0 of 2" in capsys.readouterr().out
    assert engine.built == ["crab"] and engine.judged == ["crab"]


def test_the_list_can_be_read_by_programs(engine: FakeEngine, bank: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    engine.build(Category("boat"))
    engine.build(Category("red"))
    (bank.folder / f"{engine.category_key(Category('red'))}.json").write_text("{")
    with answering(as_json=True):
        list_prototypes(bank)
    damaged, boat = json.loads(capsys.readouterr().out)
    assert (boat["category"], boat["prompts"], boat["refused_images"]) == ("boat", ["boat"], 1)
    assert "not JSON" in damaged["error"]
    list_prototypes(bank)
    assert "not JSON" in capsys.readouterr().out.splitlines()[-1]


def test_sets_are_removed_with_support_images_that_nothing_else_needs(
    engine: FakeEngine, bank: Bank, capsys: pytest.CaptureFixture[str]
) -> None:
    boat, red = Category("boat"), Category("red")
    for category in (boat, red):
        engine.build(category)
    FakeEngine(engine.folder, "other").build(red)  # of the same support images
    for key in [item.support_key for item in stored_sets(bank)]:
        (support_store(bank).folder / key).mkdir(parents=True, exist_ok=True)
    asked = []

    def agree(question: str) -> bool:
        asked.append(question)
        return True

    remove_prototypes(bank, ["boat", engine.category_key(red)[:12], "boat"], agree)
    assert asked == ["Remove these 2 sets?"]
    assert not engine.has(boat)
    assert len(bank.keys()) == 1
    assert support_store(bank).keys() == (bank.card(bank.keys()[0]).support_key,)
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("(boat)  boat")
    assert said[-1] == "removed: 2 prototype sets, 1 sets of support images"


def test_nothing_is_removed_without_consent_or_by_a_wrong_name(engine: FakeEngine, bank: Bank) -> None:
    engine.build(Category("boat"))
    with pytest.raises(RequestError, match="Nothing was removed"):
        remove_prototypes(bank, ["boat"], lambda question: False)
    with pytest.raises(UsageError, match="No prototypes of 'ship'"):
        remove_prototypes(bank, ["boat", "ship"], lambda question: True)
    assert engine.has(Category("boat"))


def test_a_damaged_set_can_be_removed(engine: FakeEngine, bank: Bank) -> None:
    engine.build(Category("boat"))
    (key,) = bank.keys()
    (bank.folder / f"{key}.json").write_text("{")
    remove_prototypes(bank, [key], lambda question: True)
    with pytest.raises(BankError, match="No prototype set"):
        bank.card(key)


def test_what_somebody_else_builds_just_now_comes_last(tmp_path: Path) -> None:
    class SharedEngine(FakeEngine):
        def being_built(self, category: Category) -> str | None:
            return "another machine" if category.name == "red" and len(self.built) < 1 else None

    engine = SharedEngine(tmp_path / "bank")
    build_missing([Category(name) for name in ("red", "blue", "green")], engine)
    assert engine.built == ["blue", "red", "green"]


def test_a_bank_in_a_bucket_is_listed_and_emptied(
    bucket: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = Bank(f"{bucket}/bank")
    FakeEngine(bank.folder).build(Category("red"))
    assert main(["prototypes", "list", "--bank", f"{bucket}/bank"]) == 0
    assert "red" in capsys.readouterr().out
    monkeypatch.setenv("OVDIFF_BANK", f"{bucket}/bank")
    assert main(["prototypes", "remove", "red", "--yes"]) == 0
    assert bank.keys() == () and "removed: 1 prototype sets" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["prototypes", "list", "--bank", "s3://ann:hush@bucket"])
    said = capsys.readouterr().err
    assert "s3://...@bucket holds a user or a password" in said and "hush" not in said
