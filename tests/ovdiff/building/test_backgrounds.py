"""Background prototypes with their places, on small models: listed, banned, promoted."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ovdiff.bank.background import BackgroundPrototype
from ovdiff.bank.prototypes import Prototypes
from ovdiff.engine import Engine
from ovdiff.errors import BankError, SupportError
from ovdiff.vocabulary import Category

BOAT, WATER = Category("boat"), Category("water")


def _parts(engine: Engine) -> list[BackgroundPrototype]:
    return [item for item in engine.curator.backgrounds(BOAT) if item.kind == "part"]


def _background(engine: Engine, category: Category = BOAT) -> Prototypes:
    return engine.bank.load(engine.category_key(category)).spaces["clip"].background


def _nearest(rows: NDArray[np.float32], vector: NDArray[np.float32]) -> float:
    return float(np.square(rows - vector).sum(axis=1).min())


def test_every_background_cell_is_a_place_of_one_part(engine: Engine) -> None:
    found, rows = engine.curator.backgrounds(BOAT), _background(engine)
    assert [item.number for item in found] == list(range(len(rows.vectors)))
    assert [item.kind for item in found].count("part") == engine.preset.prototypes.parts
    everything, parts = found[0], [item for item in found if item.kind == "part"]
    assert everything.kind == "class" and everything.share == pytest.approx(1.0)
    assert sum(item.share for item in parts) == pytest.approx(1.0)
    for number, mask in everything.places.items():
        counts = sum(item.places.get(number, mask & False).astype(int) for item in parts)
        np.testing.assert_array_equal(counts, mask.astype(int))
    means = [item for item in found if item.kind == "instance"]
    assert all(len(item.places) == 1 for item in means)
    assert {number for item in means for number in item.places} == set(everything.places)
    support = {item.number: item for item in engine.support_set(BOAT).images}
    for number, mask in everything.places.items():
        np.testing.assert_array_equal(mask, support[number].background)


def test_a_ban_takes_its_places_out_of_the_background_whatever_k_means_then_numbers(engine: Engine) -> None:
    key, banned = engine.category_key(BOAT), _parts(engine)[0]
    before, vector = _background(engine).vectors, _background(engine).vectors[banned.number]
    (ban,) = engine.curator.ban(BOAT, banned.number, "that is the mast").bans
    assert (ban.extractor, ban.kind, ban.why) == ("clip", "part", "that is the mast")
    assert ban.share == pytest.approx(banned.share, abs=1e-4) and not engine.has(BOAT)
    engine.build(BOAT)  # which draws nothing
    for item in engine.support_set(BOAT).images:
        assert not (item.background & banned.places.get(item.number, item.background & False)).any()
    assert _nearest(_background(engine).vectors, vector) > 4 * _nearest(before, vector) + 0.01
    for item in _parts(engine):
        for number, mask in item.places.items():
            assert not (mask & banned.places.get(number, mask & False)).any()
    engine.curator.reject(BOAT, [0])  # k-means runs anew, on fewer cells
    engine.build(BOAT)
    assert _nearest(_background(engine).vectors, vector) > 0.01
    engine.curator.restore(BOAT, [0])
    assert engine.curator.unban(BOAT, 0).identity() == {} and engine.category_key(BOAT) == key


def test_a_ban_is_lifted_by_the_address_of_its_places_once_and_no_other_one(engine: Engine) -> None:
    (one,) = engine.curator.ban(BOAT, _parts(engine)[0].number).bans
    engine.build(BOAT)
    two = engine.curator.ban(BOAT, _parts(engine)[0].number).bans[1]
    assert engine.curator.unban(BOAT, one.places[:12]).bans == (two,)
    for again in (one.places[:12], "", "g"):
        with pytest.raises(SupportError, match=f"'boat' has no ban {again}; there are 0"):
            engine.curator.unban(BOAT, again)
    assert engine.curator.curation(BOAT).bans == (two,)
    with pytest.raises(SupportError, match="'boat' has no ban -1"):
        engine.curator.unban(BOAT, -1)


def test_the_ban_of_all_background_leaves_none(engine: Engine) -> None:
    engine.curator.ban(BOAT, 0)
    engine.build(BOAT)
    assert not len(_background(engine).vectors)
    with pytest.raises(SupportError, match="'boat' has no background prototype 0; it has none"):
        engine.curator.ban(BOAT, 0)


def test_what_is_promoted_is_a_category_of_its_own(engine: Engine) -> None:
    promoted = max(_parts(engine), key=lambda item: item.share)
    new = engine.curator.promote(BOAT, promoted.number, WATER)
    assert not new.draw and {item.source for item in new.exemplars} == {"background of 'boat'"}
    assert engine.curator.curation(BOAT).bans[0].into == "water"
    engine.build(WATER)  # which draws nothing
    engine.build(BOAT)
    support, boats = engine.support_set(WATER), {item.number: item for item in engine.support_set(BOAT).images}
    for item in support.images:
        number = int(item.exemplar.removeprefix("boat-"))
        np.testing.assert_array_equal(item.image, boats[number].image)
        np.testing.assert_array_equal(item.foreground, promoted.places[number])


def test_a_promotion_is_undone_and_another_one_stays(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ovdiff.building.curating._LEAST_SHARE", 1e-6)  # what is left of these images is small
    curator = engine.curator
    curator.promote(BOAT, max(_parts(engine), key=lambda item: item.share).number, WATER)
    kept = curator.curation(WATER)
    engine.build(BOAT)
    curator.promote(BOAT, max(_parts(engine), key=lambda item: item.share).number, WATER)
    assert len(curator.curation(WATER).exemplars) > len(kept.exemplars)
    one, other = curator.curation(BOAT).bans
    assert curator.demote(BOAT, other.places[:12], WATER).bans == (one,)
    assert curator.curation(WATER).identity() == kept.identity()
    curator.reject(BOAT, [0])  # what else people changed since is no hindrance
    curator.demote(BOAT, one.places[:12], WATER)
    assert curator.curation(WATER).identity() == {}, "drawn again"
    assert curator.curation(BOAT).bans == ()
    with pytest.raises(SupportError, match="'boat' has no ban"):
        curator.demote(BOAT, one.places[:12], WATER)


def test_what_cannot_be_banned_or_promoted_is_said(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    count = len(_background(engine).vectors)
    with pytest.raises(SupportError, match=f"'boat' has no background prototype 99; there are 0 to {count - 1}"):
        engine.curator.ban(BOAT, 99)
    with pytest.raises(SupportError, match="'boat' has no ban 0; there are none"):
        engine.curator.unban(BOAT, 0)
    with pytest.raises(SupportError, match="'ship' has the phrases of 'boat'; promote it to another category"):
        engine.curator.promote(BOAT, 1, Category("ship", ("boat",)))
    with pytest.raises(BankError, match="Build its category first"):
        engine.curator.backgrounds(WATER)
    monkeypatch.setattr("ovdiff.building.curating._LEAST_SHARE", 1.0)
    with pytest.raises(SupportError, match="The places of background 1 of 'boat' cover less than 100% of each support"):
        engine.curator.promote(BOAT, 1, WATER)
    assert not engine.curator.curation(BOAT).identity()


def test_an_exemplar_is_banned_by_its_address_and_not_by_its_number(engine: Engine) -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((64, 64), np.bool_)
    mask[20:40, 20:40] = True
    for name in ("one", "two"):
        engine.curator.add_exemplar(BOAT, rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), mask, name)
    engine.build(BOAT)
    last = engine.support_set(BOAT).images[-1]
    number = next(
        item.number
        for item in engine.curator.backgrounds(BOAT)
        if item.kind == "instance" and last.number in item.places
    )
    engine.curator.ban(BOAT, number)
    other = next(item for item in engine.support_set(BOAT).images if item.exemplar not in ("", last.exemplar))
    engine.curator.remove_exemplar(BOAT, other.exemplar)
    (only,) = (item for item in engine.support_set(BOAT).images if item.exemplar)
    assert only.exemplar == last.exemplar and only.number != last.number and not only.background.any()
