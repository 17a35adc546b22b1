"""Forecasts on the embedded models: planted faults are found, and nothing where nothing is wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ovdiff import Bank, Category, Engine, Vocabulary, load_preset
from ovdiff.bank.support import SupportImage, SupportSet
from ovdiff.engines.building import Forecasts
from ovdiff.errors import BankError, VocabularyError
from ovdiff.forecasting import forecaster
from ovdiff.forecasting.forecast import Forecast
from ovdiff.forecasting.held_out import halves

pytestmark = pytest.mark.slow

CLOCK, TREE, CAR, FAULTY = Category("clock"), Category("tree"), Category("car"), Category("boat", ("fish",))
SYNONYM, UNKNOWN, MISSING = Category("vehicle", ("car",)), Category("crab"), Category("mug")
PLANTED = Vocabulary((CLOCK, CAR, SYNONYM, FAULTY, UNKNOWN, MISSING))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    tiny = load_preset("tinyworld")
    small = replace(tiny, generation=replace(tiny.generation, images=2))
    engine = Engine(small, Bank(tmp_path_factory.mktemp("bank")))
    for category in (CLOCK, TREE, CAR, SYNONYM, FAULTY, UNKNOWN):
        engine.build(category)
    return engine


@pytest.fixture(scope="module")
def planted(engine: Engine) -> Forecast:
    return engine.forecast(PLANTED)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("same words", ("car", "vehicle")),
        ("doubtful word", ("crab",)),
        ("other sense", ("boat",)),
        ("not built", ("mug",)),
    ],
)
def test_a_planted_fault_is_found(planted: Forecast, kind: str, names: tuple[str, ...]) -> None:
    assert names in [finding.categories for finding in planted.findings if finding.kind == kind]


def test_no_word_is_blamed_for_the_fault_of_another(planted: Forecast) -> None:
    blamed = {name for finding in planted.findings for name in finding.categories}
    assert "clock" not in blamed


def test_the_synonyms_are_the_pair_at_most_risk(planted: Forecast) -> None:
    first = planted.pairs[0]
    assert {first.first, first.second} == {"car", "vehicle"} and first.risk == 1.0
    assert first.confused is not None and first.confused > 0.2 and first.told_apart == pytest.approx(0.5)


def test_a_word_without_prototypes_has_a_text_and_no_figures(planted: Forecast) -> None:
    mug = planted.categories[-1]
    assert (mug.name, mug.kind, mug.images, mug.own, mug.expected_iou) == ("mug", "thing", 0, None, None)
    pairs = [pair for pair in planted.pairs if "mug" in (pair.first, pair.second)]
    assert all(pair.risk is None and pair.text_cosine is not None for pair in pairs)
    assert planted.tried() == ("clock", "car", "vehicle", "boat", "crab") and planted.confusion.shape == (5, 6)
    np.testing.assert_allclose(planted.confusion.sum(axis=1), 1)


def test_nothing_is_found_where_nothing_is_wrong(engine: Engine) -> None:
    steps: list[tuple[str, float]] = []
    found = engine.forecast(Vocabulary((CLOCK, TREE)), lambda name, done: steps.append((name, done)))
    assert found.findings == () and isinstance(engine, Forecasts)
    assert found.pairs[0].risk is None and found.pairs[0].confused is not None  # A single pair has no rank.
    assert max(category.own or 0 for category in found.categories) > 0.3  # Of two images one is left for prototypes.
    assert [done for _, done in steps] == sorted(done for _, done in steps) and steps[-1] == ("done", 1.0)


def test_the_forecast_leaves_the_bank_as_it_was(engine: Engine, planted: Forecast) -> None:
    assert len(engine.bank.keys()) == 5  # The synonym is drawn from the same words, so it has the set of its word.
    assert all(not path.name.startswith("held") for path in Path(engine.bank.folder).iterdir())


def test_one_category_cannot_be_compared(engine: Engine) -> None:
    with pytest.raises(VocabularyError, match=r"'clock' is alone\. Name at least two"):
        engine.forecast(Vocabulary((CLOCK,)))


def test_images_that_were_removed_say_what_to_do(engine: Engine, tmp_path: Path) -> None:
    bare = Engine(engine.preset, Bank(tmp_path), models=engine._models)
    for category in (CLOCK, TREE):
        key = engine.category_key(category)
        bare.bank.save(key, engine.bank.load(key), engine.bank.card(key))
    with pytest.raises(BankError, match="support images of 'clock' are not in"):
        bare.forecast(Vocabulary((CLOCK, TREE)))


def test_no_image_meets_prototypes_that_were_made_from_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[tuple[int, set[int]]] = []

    def make(_parts: object, half: SupportSet) -> frozenset[int]:
        return frozenset(item.seed for item in half.images)

    def see(segmenter: list[dict[str, frozenset[int]]], item: SupportImage, *_others: object) -> None:
        (sets,) = segmenter
        met.append((item.seed, set().union(*sets.values())))

    monkeypatch.setattr(forecaster, "make_half", make)
    monkeypatch.setattr(forecaster, "OverlaidBank", lambda _bank, sets: sets)
    monkeypatch.setattr(forecaster, "ImageSegmenter", lambda _parts, sets, _recipes: [sets])
    monkeypatch.setattr(forecaster, "look_at", see)
    split = {number: halves(engine.support_set(word)) for number, word in enumerate((CLOCK, TREE))}
    seer = forecaster.Forecaster(engine._builder, engine._segmenter.parts, engine.bank, engine._recipes)
    seer._looks(Vocabulary((CLOCK, TREE)), split, None, lambda _name, _done: None)  # type: ignore[arg-type]
    assert len(met) == 4 and all(seen and seed not in seen for seed, seen in met)
