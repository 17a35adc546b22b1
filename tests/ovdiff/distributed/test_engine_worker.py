"""The engine of a worker and what it is asked to do, in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ovdiff.bank import Bank
from ovdiff.distributed import engine_worker
from ovdiff.distributed.engine_worker import (
    EngineSpec,
    GivenUpError,
    build_category,
    call_engine,
    engine_here,
    spec_of,
    start_engine,
    use_engine,
)
from ovdiff.engines import load_any_preset, make_engine
from ovdiff.errors import ClusterError
from ovdiff.vocabulary import Category
from tests.fakes.engine import FakeEngine


@pytest.fixture(autouse=True)
def no_engine() -> Iterator[None]:
    yield
    engine_worker._of_this_process.clear()


class Board:
    def __init__(self, *, goes_on: bool = True) -> None:
        self.notes: list[tuple[Category, str, float]] = []
        self._goes_on = goes_on

    def note(self, category: Category, stage: str, fraction: float) -> bool:
        self.notes.append((category, stage, fraction))
        return self._goes_on


def test_a_worker_makes_the_engine_of_its_spec(tmp_path: Path) -> None:
    preset, bank = load_any_preset("tinyworld"), Bank(tmp_path)
    spec = spec_of(make_engine(preset, bank, "cpu"), bank, "cpu:0")
    assert spec.device == "cpu", "a worker's own GPU is the first one that it sees"
    assert spec_of(make_engine(preset, bank, "cpu"), bank, "cuda:1+compile-resident").device == "cuda+compile-resident"
    start_engine(spec, 1, loads=False)
    assert engine_here().fingerprint() == spec.fingerprint
    assert call_engine("category_key", Category("boat")) == engine_here().category_key(Category("boat"))


def test_a_machine_with_other_weights_is_refused(tmp_path: Path) -> None:
    spec = EngineSpec(load_any_preset("tinyworld"), Bank(tmp_path), "cpu", fingerprint="another")
    with pytest.raises(ClusterError, match=r"has other weights of the preset 'tinyworld' or another version of ovdiff"):
        spec.make()


def test_a_worker_may_start_after_the_anchors_were_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = Bank(tmp_path)
    engine = make_engine(load_any_preset("tinyworld"), bank, "cpu")
    spec, before = spec_of(engine, bank, "cpu"), engine.fingerprint()
    monkeypatch.setattr(Bank, "has", lambda _bank, _key: True)
    assert engine.fingerprint() != before, "masks differ, so whatever keeps them is told"
    assert spec.make().fingerprint() == engine.fingerprint()


def test_models_are_loaded_at_once_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loaded: list[str] = []
    monkeypatch.setattr("ovdiff.engine.Engine.load_models", lambda _engine: loaded.append("loaded"))
    spec = EngineSpec(load_any_preset("tinyworld"), Bank(tmp_path), "cpu")
    start_engine(spec, 1, loads=False)
    assert loaded == []
    start_engine(spec, 1, loads=True)
    assert loaded == ["loaded"]


def test_a_build_tells_its_stages_but_not_too_often(tmp_path: Path) -> None:
    engine, board = FakeEngine(tmp_path), Board()
    use_engine(engine)
    moments = iter([0.0, *([0.0] * 50), 5.0])
    assert build_category(Category("red"), board, lambda: next(moments, 5.0)) >= 0.0
    assert engine.built == ["red"]
    assert len(board.notes) == 1 and board.notes[0][0] == Category("red")


def test_a_build_that_nobody_wants_any_more_ends_at_its_next_stage(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path)
    use_engine(engine)
    with pytest.raises(GivenUpError):
        build_category(Category("red"), Board(goes_on=False))
    assert engine.built == []
