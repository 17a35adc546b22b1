"""What the engine does with support images: keeps them, shows them, shares them, and says what they are of."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from ovdiff.bank import Bank
from ovdiff.engine import Engine
from ovdiff.errors import BankError, VocabularyError
from ovdiff.presets import Preset
from ovdiff.segmenting.prefilter import Choice, choose
from ovdiff.vocabulary import Category, Vocabulary

BOAT = Category("boat")


@pytest.fixture(scope="module")
def small(preset: Preset) -> Preset:
    return replace(preset, extractors=replace(preset.extractors, use=("clip",)))


@pytest.fixture(scope="module")
def engine(small: Preset, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    engine = Engine(small, Bank(tmp_path_factory.mktemp("bank")))
    engine.build(BOAT)
    return engine


def _with_phrases(preset: Preset, *phrases: tuple[str, str]) -> Preset:
    return replace(preset, generation=replace(preset.generation, phrases=phrases))


def test_the_card_says_what_was_refused_where_the_images_are_and_on_which_terms(engine: Engine) -> None:
    card = engine.bank.card(engine.category_key(BOAT))
    assert card.refused_images == 0 and len(card.image_seeds) == engine.preset.generation.images
    assert engine.support_store.keys() == (card.support_key,)
    names = {licence.model for licence in card.licences}
    assert {"generator", "clip"} <= names
    assert all(licence.source and licence.licence and licence.note for licence in card.licences)


def test_a_stored_support_set_is_shown_without_loading_a_model(engine: Engine) -> None:
    fresh = Engine(engine.preset, engine.bank)
    support = fresh.support_set(BOAT)
    assert len(support.images) == engine.preset.generation.images and support.with_foreground() > 0
    assert support.images[0].image.shape == (*support.images[0].foreground.shape, 3)
    assert not fresh._models._loaded


def test_images_that_are_not_there_say_what_to_do(engine: Engine) -> None:
    with pytest.raises(BankError, match=r"of 'fish' are not in .*support.*Build its category first; if it has"):
        engine.support_set(Category("fish"))


def test_presets_of_other_extractors_prototypes_and_proposals_share_the_images(engine: Engine) -> None:
    preset = engine.preset
    others = [
        replace(preset, extractors=replace(preset.extractors, use=("dino",))),
        replace(preset, prototypes=replace(preset.prototypes, parts=3)),
        replace(preset, proposals=replace(preset.proposals, source="fixed")),
    ]
    for other in others:
        another = Engine(other, engine.bank)
        assert not another.has(BOAT)
        another.build(BOAT)
        assert another.has(BOAT) and "generator" not in vars(another._builder.parts)
    assert len(engine.support_store.keys()) == 1
    fixed = Engine(others[-1], engine.bank).support_set(BOAT)
    own = engine.support_set(BOAT)
    assert not np.array_equal(fixed.images[0].foreground, own.images[0].foreground)  # masks are each its own
    np.testing.assert_array_equal(fixed.images[0].image, own.images[0].image)


def test_a_misleading_name_is_drawn_as_its_phrase(small: Preset, tmp_path: Path) -> None:
    engine = Engine(_with_phrases(small, ("tank", "liquid tank")), Bank(tmp_path))
    key = engine.category_key
    assert key(Category("Tank")) == key(Category("any", ("liquid tank",)))
    assert key(Category("Tank", ("army tank",))) == key(Category("army tank"))
    assert Engine(small, engine.bank).category_key(Category("tank")) == key(Category("x", ("tank",)))
    engine.build(Category("TANK"))
    card = engine.bank.card(key(Category("tank")))
    assert (card.category, card.phrases) == ("TANK", ("liquid tank",))
    assert engine.support_set(Category("tank")).images[0].prompt == "a good photo of a liquid tank"


def test_the_prefilter_sees_the_same_phrase(engine: Engine, image: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, ...]] = []

    def watched(embedding: Tensor, categories: Sequence[Category], *others: Any) -> Choice:
        seen.extend(category.phrases for category in categories)
        return choose(embedding, categories, *others)

    monkeypatch.setattr("ovdiff.segmenting.image_segmenter.choose", watched)
    renamed = Engine(_with_phrases(engine.preset, ("vessel", "boat")), engine.bank)
    renamed.segment(image, Vocabulary((Category("vessel", kind="thing"), Category("tree", ("boat",), "thing"))))
    assert seen == [("boat",), ("boat",)]


def test_prompts_that_no_image_would_show_are_refused(engine: Engine) -> None:
    with pytest.raises(VocabularyError, match=r"4 prompts .*'d'.*raise generation\.images"):
        engine.build(Category("many", ("a", "b", "c", "d")))
