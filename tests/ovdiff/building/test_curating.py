"""A word is changed on an engine with small models: keys, what is drawn, what is built, what is said."""

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.bank.background import BackgroundPrototype
from ovdiff.building.curating import Curator
from ovdiff.engine import Engine
from ovdiff.engines.curating import Curates
from ovdiff.errors import BankError, ImageError, SupportError
from ovdiff.presets import Preset
from ovdiff.vocabulary import Category
from tests.ovdiff.building.conftest import clip_alone

BOAT, FISH = Category("boat"), Category("fish")


def _photo(seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A photograph of noise with an object in it, of another size than support images."""
    image = np.random.default_rng(seed).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    mask = np.zeros((90, 120), dtype=np.bool_)
    mask[20:60, 30:80] = True
    return image, mask


def _files(bank: Bank) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bank.folder.glob("*") if path.is_file()}


def test_a_rejected_image_gives_no_prototypes_and_nothing_is_drawn(engine: Engine) -> None:
    before = engine.bank.load(engine.category_key(BOAT)).spaces["clip"].foreground
    old, curator = engine.category_key(BOAT), engine.curator
    assert isinstance(engine, Curates)
    assert curator.reject(BOAT, [1], "blurred").reason(1) == "blurred"
    assert engine.category_key(BOAT) != old and not engine.has(BOAT)
    engine.build(BOAT)
    after = engine.bank.load(engine.category_key(BOAT)).spaces["clip"].foreground
    np.testing.assert_array_equal(before.vectors[[1, 3]], after.vectors[[1, 2]])  # the means of images 0 and 2
    assert not np.array_equal(before.vectors[0], after.vectors[0])
    support = engine.support_set(BOAT)
    assert [item.number for item in support.images] == [0, 2] and [item.number for item in support.rejected] == [1]
    assert support.reasons == {1: "blurred"} and after.images.tolist()[:3] == [-1, 0, 1]
    card = engine.bank.card(engine.category_key(BOAT))
    assert card.curation == curator.curation(BOAT).identity() and len(card.image_seeds) == 2


def test_what_is_drawn_has_a_key_of_its_own_whatever_is_left_out_of_it(engine: Engine) -> None:
    drawn = engine.curator.drawn_key(BOAT)
    engine.curator.reject(BOAT, [1])
    assert engine.curator.drawn_key(BOAT) == drawn != engine.category_key(BOAT)
    assert engine.curator.drawn_key(replace(BOAT, prompts=("a ship",))) != drawn


def test_a_change_is_tried_beside_what_is_in_force_and_costs_nothing_when_it_is_applied(engine: Engine) -> None:
    assert isinstance(engine, Curates)
    in_force, draft = engine.category_key(BOAT), engine.drafting()
    before = engine.curator.curation(BOAT)
    tried = draft.curator.reject(BOAT, [1], "blurred")
    draft.build(BOAT)
    assert engine.category_key(BOAT) == in_force and engine.curator.curation(BOAT) == before
    assert not (engine.bank.folder / "curations").exists()
    assert draft.category_key(BOAT) != in_force
    files = _files(engine.bank)
    assert engine.curator.put(BOAT, tried) == tried
    assert engine.category_key(BOAT) == draft.category_key(BOAT) and engine.has(BOAT)
    engine.build(BOAT)
    assert _files(engine.bank) == files, "nothing is built again"
    engine.curator.put(BOAT, before)
    assert engine.category_key(BOAT) == in_force and engine.has(BOAT)


def test_an_undone_curation_finds_the_old_set_byte_for_byte(engine: Engine) -> None:
    before, key = _files(engine.bank), engine.category_key(BOAT)
    engine.curator.reject(BOAT, [0, 2])
    engine.curator.add_exemplar(BOAT, *_photo(), "a.jpg")
    engine.build(BOAT)
    engine.curator.restore(BOAT, [2, 0])
    engine.curator.remove_exemplar(BOAT, "a.jpg")
    assert engine.category_key(BOAT) == key and engine.has(BOAT)
    assert before.items() <= _files(engine.bank).items()
    assert not list((engine.bank.folder / "curations").iterdir())


def test_an_exemplar_joins_the_support_set(engine: Engine) -> None:
    engine.curator.add_exemplar(BOAT, *_photo(), "a.jpg", "task 12 of export.json")
    engine.build(BOAT)
    support = engine.support_set(BOAT)
    item = support.images[-1]
    assert (item.number, item.exemplar, item.seed, item.prompt) == (3, "a.jpg", 0, "")
    assert (item.attribution == item.foreground).all() and item.image.shape == support.images[0].image.shape
    assert item.background.any() and not (item.background & item.foreground).any()
    without_erosion = replace(engine.preset, support=replace(engine.preset.support, erode_background=False))
    wider = Engine(without_erosion, engine.bank).support_set
    with pytest.raises(BankError, match="support images of 'boat' are not in"):  # its masks of drawn images are others
        wider(BOAT)
    rows = engine.bank.load(engine.category_key(BOAT)).spaces["clip"].foreground
    assert rows.images.tolist()[:5] == [-1, 0, 1, 2, 3]
    assert len(engine.bank.card(engine.category_key(BOAT)).image_seeds) == 3


def test_the_order_of_decisions_and_their_reasons_do_not_matter(engine: Engine) -> None:
    one, two = _photo(1), _photo(2)
    engine.curator.add_exemplar(BOAT, *one, "one")
    engine.curator.add_exemplar(BOAT, *two, "two")
    engine.curator.reject(BOAT, [0], "dark")
    key = engine.category_key(BOAT)
    engine.build(BOAT)
    made = _files(engine.bank)
    for name in ("one", "two"):
        engine.curator.remove_exemplar(BOAT, name)
    engine.curator.restore(BOAT, [0])
    engine.bank.remove(key)
    later = Curator(engine._builder, lambda: date(2030, 1, 1))
    later.reject(BOAT, [0], "cut off")
    later.add_exemplar(BOAT, *two, "second")
    assert later.add_exemplar(BOAT, *one, "first").exemplars[0].when == "2030-01-01"
    assert engine.category_key(BOAT) == key
    engine.build(BOAT)
    assert _files(engine.bank)[f"{key}.safetensors"] == made[f"{key}.safetensors"]


def test_a_word_of_exemplars_alone_is_never_drawn(engine: Engine) -> None:
    with pytest.raises(AssertionError, match="something is drawn"):
        engine.build(FISH)
    with pytest.raises(SupportError, match="has no exemplars to be made of; add one first"):
        engine.curator.draw(FISH, draw=False)
    engine.curator.add_exemplar(FISH, *_photo(), "fish.jpg", alone=True)
    engine.build(FISH)
    assert engine.has(FISH) and [item.exemplar for item in engine.support_set(FISH).images] == ["fish.jpg"]
    assert engine.judgement(FISH) is None
    engine.curator.draw(FISH, draw=True)
    with pytest.raises(AssertionError, match="something is drawn"):
        engine.build(FISH)


def test_nothing_left_is_said_with_what_to_do(engine: Engine) -> None:
    engine.curator.reject(BOAT, [0, 1, 2])
    with pytest.raises(SupportError, match=r"No support image of 'boat' is left: 3 were rejected.*Restore some.*add"):
        engine.build(BOAT)
    engine.curator.add_exemplar(BOAT, *_photo(), "a.jpg")
    engine.build(BOAT)
    assert [item.number for item in engine.support_set(BOAT).images] == [3]


def test_another_engine_and_another_set_of_prompts(engine: Engine, preset: Preset) -> None:
    other = Engine(replace(clip_alone(preset), generation=replace(preset.generation, seed=7)), engine.bank)
    keys = other.category_key(BOAT), engine.category_key(Category("boat", ("a ship",)))
    running = Engine(engine.preset, engine.bank)
    assert running.category_key(BOAT) == engine.category_key(BOAT)
    engine.curator.reject(BOAT, [1])
    assert (other.category_key(BOAT), engine.category_key(Category("boat", ("a ship",)))) == keys
    assert running.category_key(BOAT) == engine.category_key(Category("x", ("boat",)))  # it sees the command's edit
    assert not running.has(BOAT)
    again = replace(engine.preset, prototypes=replace(engine.preset.prototypes, parts=3))
    assert Engine(again, engine.bank).curator.curation(BOAT).rejected_numbers() == {1}  # the same images are drawn


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (
            lambda c: c.reject(BOAT, [1, 9]),
            r"'boat' has no drawn image 9; there are 0 to 2\. Exemplars",
        ),
        (lambda c: c.reject(FISH, [1]), "'fish' has no drawn image 1; none are stored: build the category first"),
        (lambda c: c.restore(BOAT, [1]), "Image 1 of 'boat' is not rejected; none are"),
        (
            lambda c: (c.reject(BOAT, [0, 2]), c.restore(BOAT, [0, 1])),
            "'boat' is not rejected; rejected are 0, 2",
        ),
        (lambda c: c.remove_exemplar(BOAT, "a.jpg"), r"'boat' has no exemplar 'a\.jpg'; there are: none"),
    ],
)
def test_what_is_not_there_is_said(engine: Engine, act: Any, said: str) -> None:
    with pytest.raises(SupportError, match=said):
        act(engine.curator)
    assert engine.curator.curation(BOAT).rejected_numbers() <= {0, 2}


def test_exemplars_that_cannot_be_told_apart_or_used_are_said(engine: Engine) -> None:
    for seed in (1, 2):
        engine.curator.add_exemplar(BOAT, *_photo(seed), "a.jpg")
    with pytest.raises(SupportError, match=r"several exemplars 'a\.jpg', name one by its digits; there are: a\."):
        engine.curator.remove_exemplar(BOAT, "a.jpg")
    first = engine.curator.curation(BOAT).exemplars[0].pictures
    assert len(engine.curator.remove_exemplar(BOAT, first[:12]).exemplars) == 1
    with pytest.raises(ImageError, match=r"The exemplar 'b\.jpg' of 'boat': The mask has no foreground"):
        engine.curator.add_exemplar(BOAT, _photo()[0], np.zeros((90, 120), np.bool_), "b.jpg")
    import shutil

    shutil.rmtree(engine.bank.folder / "curated")
    with pytest.raises(BankError, match=r"The exemplar 'a\.jpg' is not in the bank"):
        engine.build(BOAT)


def test_a_broken_curation_stops_and_does_not_count_as_none(engine: Engine) -> None:
    engine.curator.reject(BOAT, [1])
    (path,) = (engine.bank.folder / "curations").iterdir()
    path.write_text(path.read_text().replace("number", "nummer"))
    for act in (engine.category_key, engine.has, engine.build, engine.support_set):
        with pytest.raises(BankError, match=r"unknown field 'rejected\[0\]\.nummer'"):
            act(BOAT)


@pytest.mark.parametrize("verb", ["ban", "promote"])
def test_a_support_set_that_changes_while_the_extractors_run_moves_no_places(
    engine: Engine, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody rejects an image meanwhile; the places are those of the images that were looked at."""
    curator, before = engine.curator, engine.support_set(BOAT)
    places = {item.number: np.ones_like(item.foreground) for item in before.images}
    found = BackgroundPrototype(0, "clip", "class", 1.0, places)

    def meanwhile(*_: object) -> tuple[BackgroundPrototype, ...]:
        curator.reject(BOAT, [1])
        return (found,)

    monkeypatch.setattr("ovdiff.building.curating.background_prototypes", meanwhile)
    if verb == "ban":
        curator.ban(BOAT, 0)
    else:
        assert len(curator.promote(BOAT, 0, FISH).exemplars) == len(before.images)
    (ban,) = curator.curation(BOAT).bans
    assert len(curator._curations.pictures.get(ban.places, "The ban")) == len(before.images)
    assert curator.curation(BOAT).rejected_numbers() == {1}
