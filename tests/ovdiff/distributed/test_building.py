"""Categories built side by side, and how far they are: with threads for workers, and once on the cluster."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ovdiff.distributed import building, engine_worker
from ovdiff.distributed.building import build_on
from ovdiff.distributed.cluster import Cluster
from ovdiff.distributed.engine_worker import use_engine
from ovdiff.distributed.progress import Notes, RayBoard, board_on_cluster
from ovdiff.errors import SupportError
from ovdiff.vocabulary import Category
from tests.fakes.engine import FakeEngine

RED, BLUE = Category("red"), Category("blue")


@pytest.fixture(autouse=True)
def no_engine() -> Iterator[None]:
    yield
    engine_worker._of_this_process.clear()


class Told(RayBoard):
    """The actor's own object instead of the actor."""

    def __init__(self) -> None:
        super().__init__(Notes())

    def _asked(self, method: str, otherwise: Any, *given: Any) -> Any:
        return getattr(self._actor, method)(*given)


def test_each_category_comes_with_its_seconds_or_its_error(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path, failing=frozenset({"blue"}))
    use_engine(engine)
    with ThreadPoolExecutor(1) as pool:
        found = dict(build_on(pool, Told(), [RED, BLUE], lambda *_: None))
    assert engine.built == ["red"]
    assert isinstance(found[RED], float) and isinstance(found[BLUE], SupportError)


def test_stages_are_reported_while_a_build_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_LOOK_S", 0.01)
    go_on, reported = threading.Event(), list[tuple[str, str]]()
    use_engine(FakeEngine(tmp_path, gate=go_on))

    def report(category: Category, stage: str, _fraction: float) -> None:
        reported.append((category.name, stage))
        go_on.set()

    with ThreadPoolExecutor(1) as pool:
        list(build_on(pool, Told(), [RED], report))
    assert reported[0] == ("red", "generating") and {name for name, _ in reported} == {"red"}


def test_builds_that_are_left_are_given_up(tmp_path: Path) -> None:
    board = Told()
    use_engine(FakeEngine(tmp_path))
    with ThreadPoolExecutor(1) as pool:
        found = build_on(pool, board, [RED, BLUE], lambda *_: None)
        next(found)
        found.close()  # type: ignore[attr-defined]
    assert not board.note(BLUE, "drawing", 0.5) or not board.note(RED, "drawing", 0.5)


def test_the_board_of_a_cluster(ray_cluster: Cluster) -> None:
    board = board_on_cluster(ray_cluster)
    assert board.note(RED, "drawing", 0.25)
    assert board.stages() == {RED: ("drawing", 0.25)}
    board.give_up(RED)
    assert not board.note(RED, "drawing", 0.5)
    board.begin(RED)
    assert board.stages() == {} and board.note(RED, "drawing", 0.0)


def test_builds_go_on_without_the_board(ray_cluster: Cluster) -> None:
    import ray

    board = board_on_cluster(ray_cluster)
    board.stages()
    ray.kill(board._actor)
    assert board.note(RED, "drawing", 0.25)
    assert board.stages() == {}
