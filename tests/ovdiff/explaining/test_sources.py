"""What prototypes were made of, and what is said where it is not stored any more."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.building.part_places import part_places
from ovdiff.engine import Engine
from ovdiff.explaining.explanation import Prototype
from ovdiff.explaining.sources import Sources
from ovdiff.vocabulary import Category
from tests.ovdiff.explaining.conftest import ASKED

BOAT = ASKED.categories[0]


@pytest.fixture
def sources(engine: Engine) -> Sources:
    return Sources(engine._builder, engine.bank, engine._recipes, ASKED.categories)


def _numbers(engine: Engine, side: str, kind: int) -> list[int]:
    stored = getattr(engine.bank.load(engine.category_key(BOAT)).spaces["clip"], side)
    return np.flatnonzero(stored.kinds == kind).tolist()


@pytest.mark.parametrize("side", ["foreground", "background"])
def test_an_instance_is_the_side_of_its_image(engine: Engine, sources: Sources, side: str) -> None:
    images = engine.support_set(BOAT).images
    stored = getattr(engine.bank.load(engine.category_key(BOAT)).spaces["clip"], side)
    for number in _numbers(engine, side, 1):
        image = int(stored.images[number])
        found = sources.of(Prototype("clip", "boat", side, "instance", number, image))  # type: ignore[arg-type]
        assert [place.image for place in found.places] == [image] and not found.missing
        np.testing.assert_array_equal(found.places[0].cells, getattr(images[image], side))


@pytest.mark.parametrize("side", ["foreground", "background"])
def test_a_part_is_where_its_cells_are_the_largest_place_first(engine: Engine, sources: Sources, side: str) -> None:
    images, index = engine.support_set(BOAT).images, ("foreground", "background").index(side)
    maps = part_places(
        engine._builder.parts, "clip", images, engine.bank.load(engine.category_key(BOAT)).spaces["clip"]
    )
    for number in _numbers(engine, side, 2):
        found = sources.of(Prototype("clip", "boat", side, "part", number))  # type: ignore[arg-type]
        assert found.places and not found.missing
        for place in found.places:
            np.testing.assert_array_equal(place.cells, maps[place.image][index] == number)
        sizes = [place.cells.sum() for place in found.places]
        assert sizes == sorted(sizes, reverse=True)


def test_a_mean_is_of_all_images(engine: Engine, sources: Sources) -> None:
    found = sources.of(Prototype("clip", "boat", "foreground", "class", 0))
    shown = [number for number, item in enumerate(engine.support_set(BOAT).images) if item.foreground.any()]
    assert sorted(place.image for place in found.places) == shown


def test_features_are_made_once_a_space(engine: Engine, sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def watched(parts: object, name: str, *others: object) -> object:
        calls.append(name)
        return part_places(parts, name, *others)  # type: ignore[arg-type]

    monkeypatch.setattr("ovdiff.explaining.sources.part_places", watched)
    for number in _numbers(engine, "foreground", 2):
        sources.of(Prototype("clip", "boat", "foreground", "part", number))
    sources.of(Prototype("clip", "boat", "background", "part", _numbers(engine, "background", 2)[0]))
    assert calls == ["clip"]


def test_where_support_images_are_gone_the_reason_is_said_and_the_figures_stay(
    engine: Engine, picture: NDArray[np.uint8], tmp_path: Path
) -> None:
    shutil.copytree(engine.bank.folder, tmp_path / "bank")
    poorer = Engine(engine.preset, Bank(tmp_path / "bank"), models=engine._models)
    encoded = engine.encode(picture)
    expected = engine.explain(encoded, ASKED, (70, 60))
    shutil.rmtree(poorer.support_store.folder)
    found = poorer.explain(encoded, ASKED, (70, 60))
    assert found.votes == expected.votes and found.stages == expected.stages and found.support == {}
    assert {source.prototype for source in found.sources} == {source.prototype for source in expected.sources}
    assert all(
        not source.places and "cannot be shown. The support images of" in source.missing for source in found.sources
    )
    assert all(source.places for source in expected.sources)


def test_an_image_that_is_not_among_the_stored_ones_is_named(sources: Sources) -> None:
    found = sources.of(Prototype("clip", "boat", "foreground", "instance", 1, image=99))
    assert found.places == () and "image 99" in found.missing


def test_two_categories_are_told_apart_by_name(engine: Engine) -> None:
    both = Sources(engine._builder, engine.bank, engine._recipes, (BOAT, Category("fox")))
    both.of(Prototype("clip", "fox", "foreground", "class", 0))
    assert set(both.support) == {"fox"}
