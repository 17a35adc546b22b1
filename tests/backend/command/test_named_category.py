from pathlib import Path

import pytest

from backend.command.named_category import curator_of, named_category
from backend.errors import UsageError
from ovdiff.bank import Bank
from ovdiff.bank.card import Card
from ovdiff.vocabulary import Category
from tests.fakes.curating_engine import CuratingEngine, FakeCurator
from tests.fakes.engine import FakeEngine


class _Curator(FakeCurator):
    def is_ours(self, card: Card) -> bool:
        return card.preset == "fake"


@pytest.fixture
def engine(tmp_path: Path) -> CuratingEngine:
    engine = CuratingEngine(tmp_path / "bank", curator=_Curator())
    engine.build(Category("fire", ("red car",)))
    FakeEngine(engine.folder, "other").build(Category("fire", ("blue car",)))
    return engine


def test_a_name_stands_for_the_prompts_with_which_this_preset_built_it(engine: CuratingEngine) -> None:
    bank = Bank(engine.folder)
    assert named_category("Fire", bank, engine) == Category("fire", ("red car",))
    assert named_category(engine.category_key(Category("fire", ("red car",)))[:8], bank, engine).phrases == ("red car",)
    assert named_category("fire=a flame;smoke", bank, engine) == Category("fire", ("a flame", "smoke"))
    assert named_category("sea", bank, engine) == Category("sea")


def test_of_several_sets_of_prompts_the_word_itself_is_meant_or_a_person_is_asked(engine: CuratingEngine) -> None:
    bank = Bank(engine.folder)
    engine.build(Category("fire", ("green car",)))
    with pytest.raises(UsageError, match="'fire' was built with several sets of prompts; name one: 'fire="):
        named_category("fire", bank, engine)
    engine.build(Category("fire"))
    assert named_category("fire", bank, engine) == Category("fire")


def test_what_cannot_be_changed_is_said(engine: CuratingEngine) -> None:
    with pytest.raises(UsageError, match="'a, b' names 2 categories; name one"):
        named_category("a, b", Bank(engine.folder), engine)
    with pytest.raises(UsageError, match="The engine 'fake' of the preset 'fake' has no support sets that"):
        curator_of(FakeEngine(engine.folder))
