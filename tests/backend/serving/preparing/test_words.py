import logging
from pathlib import Path

import pytest

from backend.serving.preparing.words import Words, word_fields
from ovdiff.bank.judgement import ADVICE
from ovdiff.errors import BankError, WeightsError
from ovdiff.vocabulary import Category
from tests.fakes.engine import FakeEngine

CRAB, BOAT = Category("crab"), Category("boat")


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return FakeEngine(tmp_path / "bank", doubtful=frozenset({"crab"}))


def test_each_word_is_to_be_judged_once_in_order() -> None:
    words = Words(FakeEngine(Path("nowhere")))
    words.want([CRAB, BOAT])
    words.want([BOAT])
    assert [words.next(), words.next(), words.next()] == [CRAB, BOAT, None]


def test_an_engine_that_judges_no_words_has_none_to_judge() -> None:
    words = Words(object())
    words.want([CRAB])
    words.judge(CRAB)
    assert words.next() is None
    assert word_fields(object(), CRAB) == {"word": "not judged", "agreement": None, "advice": ""}


def test_a_status_says_what_to_try_with_a_doubtful_word(engine: FakeEngine) -> None:
    assert word_fields(engine, CRAB)["word"] == "not judged"
    for category in (CRAB, BOAT):
        engine.build(category)
    assert word_fields(engine, BOAT) == {"word": "known", "agreement": 1.0, "advice": ""}
    advice = f"CLIP agrees with 0 of 2 support images, and sees 'mug' in 2. {ADVICE}."
    assert word_fields(engine, CRAB) == {"word": "doubtful", "agreement": 0.0, "advice": advice}


@pytest.mark.parametrize("error", [WeightsError("no weights"), OSError("disk"), ValueError("a mistake")])
def test_an_error_is_logged_and_does_not_end_the_worker(
    engine: FakeEngine, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Category) -> None:
        raise error

    monkeypatch.setattr(engine, "judge", fail)
    with caplog.at_level(logging.WARNING):
        Words(engine).judge(CRAB)
    assert "'crab'" in caplog.text and str(error) in caplog.text


def test_a_judgement_that_cannot_be_read_does_not_stop_the_status(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Category) -> None:
        raise BankError("damaged")

    monkeypatch.setattr(engine, "judgement", fail)
    assert word_fields(engine, CRAB)["word"] == "not judged"
