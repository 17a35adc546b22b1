"""Who does the work on rows: in the order of the rows, not too far ahead, and nobody works on when the run ends."""

import threading
from dataclasses import replace
from pathlib import Path

from backend.command.manifest.making import Making, RowResult
from backend.command.manifest.rows import BadRow, Batch, Row
from backend.command.manifest.working import FETCHED_AHEAD, Item, working
from backend.command.plan import Wanted
from backend.command.prototypes import read_categories
from backend.errors import ImageFetchError
from tests.fakes.engine import FakeEngine, TogetherEngine
from tests.fakes.pictures import encoded, red_and_blue

PICTURE = encoded(red_and_blue())
MOST_FETCHED = FETCHED_AHEAD + 4
"""Those on their way and the one after them, one that is decoded, one that is segmented, and one that is encoded."""


class Fetching:
    """Brings a picture, the first one when it may."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.first_may_go = threading.Event()

    def bytes_of(self, row: Row) -> bytes:
        self.asked.append(row.number)
        if row.number == 1:
            assert self.first_may_go.wait(60)
        if row.number == 50:
            raise ImageFetchError("no")
        return PICTURE

    def source_of(self, row: Row) -> str:
        return ""


def made(tmp_path: Path, images: Fetching) -> tuple[Making, FakeEngine]:
    engine, vocabulary = FakeEngine(tmp_path / "bank"), read_categories("blue, red")
    for category in vocabulary.categories:
        engine.build(category)
    return Making(vocabulary, Wanted(), images, 10_000, "v"), engine


def items(count: int) -> list[Item]:
    rows: list[Row | BadRow] = [Row(number, f"{number}.png", number) for number in range(1, count + 1)]
    rows[19:20] = [BadRow(20, "x", "bad")] if count >= 20 else []
    return [Item(Batch(0, 1, rows), row) for row in rows]


def test_results_come_in_the_order_of_the_rows_and_images_not_too_far_ahead(tmp_path: Path) -> None:
    images = Fetching()
    making, engine = made(tmp_path, images)
    given = [*items(60), Item(Batch(1, 61, ()), None, {"kept": True})]
    threading.Timer(0.05, images.first_may_go.set).start()
    with working(given, making, engine) as results:
        item, result = next(results)
        assert item is given[0] and isinstance(result, RowResult) and result.image["id"] == 1
        assert len(images.asked) <= MOST_FETCHED
        rest = list(results)
    assert [item for item, _ in rest] == given[1:]
    assert [number for number, (_, result) in enumerate(rest, start=2) if isinstance(result, BadRow)] == [20, 50]
    assert rest[-1][1] is None, "a shard that is kept has no work"
    assert 20 not in images.asked and engine.segmented == 58


def test_a_row_that_fills_the_memory_for_pixels_is_alone_in_each_step(tmp_path: Path) -> None:
    images = Fetching()
    images.first_may_go.set()
    making, _ = made(tmp_path, images)
    engine = TogetherEngine(tmp_path / "bank")
    with working(items(6), replace(making, px_at_once=1), engine) as results:
        next(results)
        assert engine.segmented <= 2  # one is encoded while the next is segmented
        assert len(list(results)) == 5
    assert engine.groups == [] and engine.segmented == 6


def test_nobody_fetches_on_when_the_run_ends(tmp_path: Path) -> None:
    images = Fetching()
    images.first_may_go.set()
    making, engine = made(tmp_path, images)
    with working(items(100), making, engine) as results:
        next(results)
    assert len(images.asked) <= MOST_FETCHED and engine.segmented == 2  # one is encoded while the next is segmented
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ovdiff-ahead")]
