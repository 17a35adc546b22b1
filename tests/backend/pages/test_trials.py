from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.errors import RequestError
from backend.pages.trials import MOST, Trials
from backend.serving.preparing.precompute import Precompute
from ovdiff.errors import VocabularyError
from ovdiff.vocabulary import Category
from tests.fakes.engine import FakeEngine
from tests.fakes.waiting import eventually

RED = Category("red", (), "stuff")


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return FakeEngine(tmp_path / "bank")


def labels() -> dict[tuple[str, str], Category]:
    return {("1.2", name): Category(name) for name in ("red", *map(str, range(MOST)))}


@pytest.fixture
def precompute(engine: FakeEngine) -> Iterator[Precompute]:
    worker = Precompute(engine, retry_failed_after_s=300.0)
    worker.start()
    yield worker
    worker.stop(timeout_s=1.0)


def test_other_prompts_are_built_beside_the_present_ones(precompute: Precompute, engine: FakeEngine) -> None:
    precompute.want("1.2", [RED])
    trials = Trials(precompute, labels)
    tried = trials.start("1.2", RED, " blue sail ; green ")
    assert tried == Category("red", ("blue sail", "green"), "stuff") == trials.of("1.2", "red")
    assert eventually(lambda: precompute.status(tried).state == "ready")
    assert precompute.status(RED).state == "ready"
    assert engine.built == ["red", "red"]
    trials.end("1.2", "red")
    assert trials.of("1.2", "red") is None
    assert precompute.status(RED).state == "ready", "what the project wants stays"


def test_a_new_trial_takes_the_place_of_the_one_before(precompute: Precompute) -> None:
    trials = Trials(precompute, labels)
    first = trials.start("1.2", RED, "one")
    second = trials.start("1.2", RED, "two")
    assert trials.of("1.2", "red") == second
    assert eventually(lambda: precompute.status(second).state == "ready")
    assert precompute.status(first).state in ("ready", "unwanted")


def test_what_cannot_be_tried_is_refused(precompute: Precompute) -> None:
    trials = Trials(precompute, labels)
    with pytest.raises(RequestError, match="write one or more phrases"):
        trials.start("1.2", RED, " ; ")
    with pytest.raises(RequestError, match="'red' is drawn from 'red' already"):
        trials.start("1.2", RED, "red")
    with pytest.raises(VocabularyError, match="Duplicate prompt"):
        trials.start("1.2", RED, "a; a")
    assert trials.of("1.2", "red") is None
    for number in range(MOST):
        trials.start("1.2", Category(str(number)), "x")
    with pytest.raises(RequestError, match="End one of these trials first"):
        trials.start("1.2", RED, "x")
    trials.start("1.2", Category("0"), "y")


def test_trials_of_labels_that_are_gone_end_and_make_room(precompute: Precompute) -> None:
    there = {("1.2", str(number)): Category(str(number)) for number in range(MOST)}
    trials = Trials(precompute, lambda: there)
    tried = [trials.start("1.2", Category(str(number)), "x") for number in range(MOST)]
    there = {("1.2", "0"): Category("0"), ("3.4", "1"): Category("1")}  # all others were renamed
    second = trials.start("3.4", Category("1"), "x")
    assert (trials.of("1.2", "0"), trials.of("3.4", "1")) == (tried[0], second)
    assert [trials.of("1.2", str(number)) for number in range(1, MOST)] == [None] * (MOST - 1)


def test_a_trial_is_over_once_the_label_config_says_its_prompts(precompute: Precompute) -> None:
    there = labels()
    trials = Trials(precompute, lambda: there)
    tried, other = trials.start("1.2", RED, "a; b"), trials.start("1.2", Category("0"), "x")
    there["1.2", "red"] = Category("red", ("a", "b"))  # a person wrote them there
    there["1.2", "0"] = Category("0", ("y",))
    trials.drop_over()
    assert (trials.of("1.2", "red"), trials.of("1.2", "0")) == (None, other)
    assert precompute.status(tried).state == "unwanted"
