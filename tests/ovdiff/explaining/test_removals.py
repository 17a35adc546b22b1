"""What the prefilter removed, against engines that segment without it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ovdiff.engine import Engine
from ovdiff.explaining.removals import shortfall
from ovdiff.presets.segmenting_settings import PrefilterSettings
from ovdiff.segmenting.prefilter import Choice
from ovdiff.vocabulary import Category, Vocabulary
from tests.ovdiff.explaining.conftest import ANCHOR, ASKED, variant

THINGS = Vocabulary((*ASKED.categories, Category(ANCHOR, kind="thing")))


@pytest.mark.parametrize("background", ["prototypes", "threshold", "none"])
def test_who_would_have_won_is_who_wins_without_the_prefilter(
    engine: Engine, picture: NDArray[np.uint8], background: str
) -> None:
    open_to_all = variant(engine, "matching", background=background, background_threshold=0.3)
    filtered = variant(open_to_all, "prefilter", enabled=True)
    encoded = filtered.encode(picture)
    free = open_to_all.label(encoded, THINGS).label_map
    kept = {THINGS.names[index] for index in filtered._segmenter.candidates(encoded, THINGS)}
    removed = set(THINGS.names) - kept
    assert removed
    found = []
    for x, y in np.random.default_rng(0).integers(0, 128, (12, 2)).tolist():
        explained = filtered.explain(encoded, THINGS, (x, y))
        assert {removal.name for removal in explained.removed} == removed
        assert [removal.score for removal in explained.removed] == sorted(
            (removal.score for removal in explained.removed), reverse=True
        )
        winners = [removal.name for removal in explained.removed if removal.would_have_won]
        label = int(free[y, x])
        assert winners == ([THINGS.names[label - 1]] if label and THINGS.names[label - 1] in removed else [])
        assert all(removal.short_by > 0 for removal in explained.removed)
        found += winners
    assert background != "none" or found  # someone removed does win somewhere; with background it may be there


def test_each_rule_names_its_own_figures() -> None:
    settings = PrefilterSettings(max_categories=3)
    similarities = np.array([0.9, 0.8, 0.7, 0.85, -1.0])
    fits = (((0,), 0.9), ((1,), 0.8), ((3,), 0.85), ((0, 1), 0.7), ((0, 3), 0.95), ((1, 3), 0.6), ((0, 1, 3), 0.94))
    choice = Choice((0, 3), similarities, (0, 1, 3), fits)
    rule, value, bar = shortfall(choice, 1, settings)
    assert (rule, value, bar) == ("joint caption", pytest.approx(0.94), pytest.approx(0.95))
    assert shortfall(choice, 2, settings) == ("limit", pytest.approx(0.7), pytest.approx(0.8))
    rule, value, bar = shortfall(choice, 4, settings)
    assert (rule, value) == ("average", -1.0) and bar == pytest.approx(np.log(np.mean(np.exp(similarities))))


def test_without_a_prefilter_nothing_was_removed(engine: Engine, picture: NDArray[np.uint8]) -> None:
    assert engine.explain(engine.encode(picture), ASKED, (5, 5)).removed == ()
