"""The images that say most: segmented again, and what is wrong in them explained."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backend.command.evaluation.examples import Example, examples_of, largest_wrong_region
from backend.presentation.verdict import verdict
from ovdiff.errors import BankError
from ovdiff.evaluation.ranking import RankedImages
from tests.fakes.coloured_dataset import VOCABULARY, Squares
from tests.fakes.explaining_engine import ExplainingEngine, ScoringEngine
from tests.fakes.explanations import explanation

_MAPS = arrays(np.int32, (5, 6), elements=st.integers(-1, 2))


def _explaining(folder: Path) -> ExplainingEngine:
    engine = ExplainingEngine(folder)
    for category in VOCABULARY.categories:
        engine.build(category)
    return engine


def test_each_image_has_its_place_its_pictures_and_what_is_wrong(examples: tuple[Example, ...]) -> None:
    assert [each.place for each in examples] == ["worst"] * 3 + ["median"] * 3 + ["best"] * 3
    assert len({each.name for each in examples}) == 9
    assert [each.miou for each in examples[:3]] == sorted(each.miou for each in examples)[:3]
    for each in examples:
        assert each.pictures.truth != each.pictures.found != each.pictures.wrong
        assert "that was taken for background, " in each.wrong
        assert each.why == "The engine 'fake' cannot say why a place has its label."


def test_an_engine_that_can_explains_the_largest_wrong_region(tmp_path: Path) -> None:
    engine, dataset = _explaining(tmp_path), Squares()()
    (found,) = examples_of(engine, dataset, RankedImages(("square-1",), (), ()), {"square-1": 0.5})
    (where,) = engine.explained
    truth = dataset.read("square-1").truth.label_map
    assert isinstance(where, np.ndarray)
    assert where.sum() == 10 and (truth[where] == truth[2, 2]).all(), "the first row of one square was not found"
    assert found.why.startswith(verdict(explanation()))
    assert found.stages[0][0] == "after" and len(found.removed) == 2
    assert engine.encoded == 1, "the picture and the explanation share an encoding"


def test_an_engine_that_scores_places_tells_the_scores_deep_inside_the_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, dataset = ScoringEngine(tmp_path), Squares()()
    for category in VOCABULARY.categories:
        engine.build(category)
    ranked = RankedImages(("square-2",), (), ())
    (found,) = examples_of(engine, dataset, ranked, {"square-2": 0.5})
    assert found.wrong.startswith("The largest wrong region is blue that was taken for background")
    place, _, told = found.why.partition(": ")
    assert told == (
        "red has the highest score, 0.500, green comes second with 0.250, blue, which is there, has 0.167. "
        "The clean-up of the labels made it background."
    )
    x, y = map(int, place.removeprefix("Deep inside it, at ").split(","))
    assert y == 2 and 2 <= x < 12, "the first row of the square was not found"

    def fail(*_arguments: object) -> None:
        raise BankError("The prototypes are gone.")

    monkeypatch.setattr(engine, "place_scores", fail)
    (found,) = examples_of(engine, dataset, ranked, {"square-2": 0.5})
    assert found.why == "It could not be explained: The prototypes are gone."


def test_an_image_that_cannot_be_read_any_more_has_no_picture(tmp_path: Path) -> None:
    dataset = Squares(broken=("square-1",))()
    ranked = RankedImages(("square-1",), ("square-2",), ())
    found = list(examples_of(_explaining(tmp_path), dataset, ranked, {"square-1": 0.5, "square-2": 0.6}))
    assert [each.name for each in found] == ["square-2"]


def test_what_cannot_be_explained_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise BankError("The prototypes are gone.")

    engine = _explaining(tmp_path)
    monkeypatch.setattr(engine, "explain", fail)
    (found,) = examples_of(engine, Squares()(), RankedImages(("square-1",), (), ()), {"square-1": 0.5})
    assert found.why == "It could not be explained: The prototypes are gone."


@drawn(_MAPS.filter(lambda labels: bool((labels >= 0).any())), arrays(np.int32, (5, 6), elements=st.integers(0, 2)))
def test_the_largest_wrong_region_is_that_of_a_slow_search(
    truth: np.ndarray[tuple[int, int], np.dtype[np.int32]], given: np.ndarray[tuple[int, int], np.dtype[np.int32]]
) -> None:
    found = largest_wrong_region(truth, given, ("a", "b"))
    slow = _slow_regions(truth, given)
    if not slow:
        assert found is None
        return
    assert found is not None
    assert found.mask.sum() == max(map(len, slow)) == round(found.share * truth.size)
    names = ("background", "a", "b")
    assert {names[label] for label in truth[found.mask]} == {found.truth}
    assert {names[label] for label in given[found.mask]} == {found.given}
    assert {tuple(place) for place in np.argwhere(found.mask).tolist()} in slow


def _slow_regions(
    truth: np.ndarray[tuple[int, int], np.dtype[np.int32]], given: np.ndarray[tuple[int, int], np.dtype[np.int32]]
) -> list[set[tuple[int, int]]]:
    """Return the connected regions of wrong pixels with one pair of labels, by spreading from pixel to pixel."""
    height, width = truth.shape
    wrong = {
        (y, x): (int(truth[y, x]), int(given[y, x]))
        for y in range(height)
        for x in range(width)
        if truth[y, x] >= 0 and truth[y, x] != given[y, x]
    }
    regions = []
    while wrong:
        start, pair = wrong.popitem()
        region, edge = {start}, [start]
        while edge:
            y, x = edge.pop()
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & wrong.keys()
            for place in near:
                if wrong[place] == pair:
                    del wrong[place]
                    region.add(place)
                    edge.append(place)
        regions.append(region)
    return regions
