from typing import Any

import pytest

from ovdiff.errors import VocabularyError
from ovdiff.vocabulary import Category, Vocabulary, as_category, with_phrase


def test_phrases_are_the_prompts_or_the_name() -> None:
    assert Category(" boat ").phrases == ("boat",)
    assert Category("vessel", ("boat", "ship")).phrases == ("boat", "ship")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": " "}, "needs a name"),
        ({"name": "boat", "prompts": ("",)}, "blank prompt"),
        ({"name": "boat", "prompts": ("ship", "ship")}, "Duplicate prompt of category 'boat': 'ship'"),
        ({"name": "boat", "kind": "animal"}, "of kind 'animal'"),
    ],
)
def test_bad_categories_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        Category(**arguments)


def test_bad_vocabularies_are_refused() -> None:
    with pytest.raises(VocabularyError, match="empty"):
        Vocabulary(())
    with pytest.raises(VocabularyError, match="Duplicate category: 'boat'"):
        Vocabulary((Category("boat"), Category("sky"), Category("boat")))


def test_fingerprint_depends_on_order_prompts_and_kind_alone() -> None:
    boat, sky = Category("boat"), Category("sky")
    plain = Vocabulary((boat, sky)).fingerprint()
    assert plain == Vocabulary((Category("boat", ("boat",)), sky)).fingerprint()
    others = [(sky, boat), (boat,), (Category("boat", ("ship",)), sky), (boat, Category("sky", kind="stuff"))]
    assert len({plain, *(Vocabulary(categories).fingerprint() for categories in others)}) == 5


PHRASES = (("tank", "liquid tank"), ("Blind ", "window blinds"))


@pytest.mark.parametrize("name", ["tank", "Tank", " TANK "])
def test_a_name_takes_the_phrase_that_is_given_for_it(name: str) -> None:
    assert with_phrase(Category(name, kind="thing"), PHRASES) == Category(name, ("liquid tank",), "thing")


def test_own_prompts_win_and_other_names_stay() -> None:
    for category in (Category("tank", ("army tank",)), Category("boat"), Category("liquid tank")):
        assert with_phrase(category, PHRASES) is category
    assert with_phrase(Category("blind"), PHRASES).phrases == ("window blinds",)


def test_prompts_may_be_a_list_but_not_a_text() -> None:
    """A text would be read as its letters, and a list could not be looked up."""
    assert hash(Category("boat", ["ship", "boat"])) == hash(Category("boat", ("ship", "boat")))  # type: ignore[arg-type]
    with pytest.raises(VocabularyError, match=r"has the prompts 'ship'; expected a tuple, such as \('ship',\)"):
        Category("boat", "ship")  # type: ignore[arg-type]


def test_names_stand_for_categories_in_lists_and_tuples() -> None:
    boat, sky = Category("boat", ("sailing boat",)), Category("sky")
    assert Vocabulary(["boat", "sky"]) == Vocabulary((Category("boat"), sky))
    assert Vocabulary([boat, "sky"]).categories == (boat, sky)
    assert Vocabulary(name for name in ("boat", "sky")).names == ("boat", "sky")
    assert hash(Vocabulary(["sky"])) == hash(Vocabulary((sky,)))


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ("ball", r"Expected a list of categories, got 'ball' alone. Write \['ball'\]"),
        (Category("ball"), r"Expected a list of categories, got Category\(name='ball'.* alone"),
        (7, r"Expected a list of categories, got 7. Write names, such as \['boat', 'water'\]"),
        ([], "The vocabulary is empty. Give at least one category, such as 'boat'"),
        (["ball", ""], "A category needs a name, got ''"),
        (["ball", 7], r"Expected a category's name or a Category, got 7 \(int\). Write a name such as 'boat'"),
        (["ball", Category("ball", ("football",))], "Duplicate category: 'ball'. Name each once"),
    ],
)
def test_a_list_that_is_none_says_what_to_write(categories: Any, message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        Vocabulary(categories)


def test_a_category_stays_as_it_is() -> None:
    boat = Category("boat", ("sailing boat",))
    assert as_category(boat) is boat
    assert as_category("boat") == Category("boat")
