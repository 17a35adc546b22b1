from dataclasses import replace
from pathlib import Path

import pytest

from backend.command.stored_sets import find_sets, stored_sets
from backend.errors import UsageError
from ovdiff.bank import Bank
from ovdiff.bank.card import Card
from ovdiff.vocabulary import Category
from tests.fakes.engine import FakeEngine

KEYS = ("abcdef0" + "0" * 57, "abcdef1" + "0" * 57, "123456" + "0" * 58)


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    """Three sets: of boat, of boat with another preset, of the category abcdef; two keys begin with abcdef."""
    engine, bank = FakeEngine(tmp_path / "other"), Bank(tmp_path / "bank")
    engine.build(Category("boat"))
    prototypes, card = Bank(engine.folder).load(engine.category_key(Category("boat"))), Card(phrases=("boat",))
    for key, name in zip(KEYS, ("boat", "boat", "abcdef"), strict=True):
        bank.save(key, prototypes, replace(card, category=name))
    return bank


def test_a_set_is_what_its_card_says(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path / "bank", "mine")
    engine.build(Category("boat", ("red boat", "ship")))
    (item,) = stored_sets(Bank(engine.folder))
    assert (item.category, item.prompts, item.models) == ("boat", ("red boat", "ship"), {"generator": "fake:generator"})
    assert item.preset == "mine"
    assert (item.images, item.images_with_foreground, item.refused_images) == (2, 2, 1)
    assert item.size_bytes == sum(path.stat().st_size for path in engine.folder.iterdir())
    assert item.key.startswith(item.short_key)


def test_a_damaged_card_is_listed_with_what_is_wrong(bank: Bank) -> None:
    (bank.folder / f"{KEYS[2]}.json").write_text("{")
    damaged = stored_sets(bank)[0]
    assert damaged.key == KEYS[2]
    assert "not JSON" in damaged.error
    assert find_sets(bank, KEYS[2]) == (damaged,)


def test_a_card_of_another_version_is_listed_too(bank: Bank) -> None:
    (bank.folder / f"{KEYS[2]}.json").write_text('{"sha256": ""}')
    assert stored_sets(bank)[0].label == "123456000000 (damaged)"


def test_a_set_is_found_by_category_or_key(bank: Bank) -> None:
    assert {item.key for item in find_sets(bank, " Boat ")} == set(KEYS[:2])
    assert [item.key for item in find_sets(bank, "abcdef1")] == [KEYS[1]]
    assert [item.key for item in find_sets(bank, KEYS[2].upper())] == [KEYS[2]]


@pytest.mark.parametrize("text", ["", "ship", "12345", "999999"])
def test_what_is_not_there_is_named(text: str, bank: Bank) -> None:
    with pytest.raises(UsageError, match=f"No prototypes of '{text}' in"):
        find_sets(bank, text)


def test_an_ambiguous_text_is_refused(bank: Bank) -> None:
    with pytest.raises(UsageError, match=r"'abcdef' may be any of 1234.*\(abcdef\), abcdef0.*; give more digits"):
        find_sets(bank, "abcdef")
    bank.remove(KEYS[2])
    with pytest.raises(UsageError, match=r"may be any of abcdef000000 \(boat\), abcdef100000 \(boat\);"):
        find_sets(bank, "abcdef")
