import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.errors import ImageDecodeError, ImageFetchError, ImageWaitError
from backend.serving.predicting.recent import ImageAddress, RecentSegmentations
from backend.settings import PredictionSettings
from ovdiff.engines.learning import Learns
from ovdiff.vocabulary import Category, Vocabulary
from tests.fakes.engine import SCORE, FakeEngine
from tests.fakes.pictures import red_and_blue
from tests.fakes.sockets import in_background
from tests.fakes.waiting import eventually

RED, BLUE = Category("red"), Category("blue")
BOTH = {RED: "key of red", BLUE: "key of blue"}
NEVER, ALWAYS = -np.inf, np.inf
HERE = ImageAddress("/data/upload/1/picture.png", 1)
SIZE_BYTES = 48 * 64 * 7  # what a picture of the fakes takes


@dataclass
class Images:
    """Stands in for an ImageSource: the image at each address, and the addresses that were asked for."""

    at: dict[str, NDArray[np.uint8]] = field(default_factory=lambda: {HERE.reference: red_and_blue()})
    asked: list[str] = field(default_factory=list)
    within_s: float = 0.0
    open: int = 0

    @contextmanager
    def opened(
        self, reference: str, *, task_id: int | None = None, within_s: float = 0.0
    ) -> Iterator[NDArray[np.uint8]]:
        self.asked.append(reference)
        self.within_s = within_s
        if reference not in self.at:
            raise ImageFetchError(f"{reference} answered 404.")
        self.open += 1
        yield self.at[reference]
        self.open -= 1


@dataclass
class Desk:
    """What a test needs: the memory, what it asks, and the time."""

    engine: FakeEngine
    images: Images = field(default_factory=Images)
    now_s: float = 1000.0

    def memory(self, **limits: Any) -> RecentSegmentations:
        for category in (RED, BLUE):
            self.engine.build(category)
        images: Any = self.images
        return RecentSegmentations(images, self.engine, PredictionSettings(**limits), clock_s=lambda: self.now_s)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(FakeEngine(tmp_path / "bank"))


def test_addresses_are_told_apart_by_a_key_of_32_bytes() -> None:
    addresses = [
        ImageAddress(reference, task) for reference in ("/a", "/b" * 8000, "s3://\ud800") for task in (1, None)
    ]
    assert {len(address.key) for address in addresses} == {32}
    assert len({address.key for address in addresses}) == 6


def test_an_image_is_segmented_while_its_room_is_taken(desk: Desk) -> None:
    open_then: list[int] = []
    desk.engine.on_segment = lambda: open_then.append(desk.images.open)
    desk.memory().of(HERE, BOTH, since_s=NEVER)
    assert (open_then, desk.images.open) == ([1], 0)


def test_a_second_look_is_no_work_and_gives_the_same(desk: Desk) -> None:
    memory = desk.memory()
    first, second = (memory.of(HERE, BOTH, since_s=NEVER) for _ in range(2))
    assert (len(desk.images.asked), desk.engine.segmented) == (1, 1)
    assert np.array_equal(first.label_map, second.label_map) and first.label_map.dtype == np.int32
    assert set(np.unique(first.label_map)) == {0, 1, 2}
    assert np.array_equal(first.scores, second.scores) and first.scores.max() == SCORE
    assert np.array_equal(first.margins, second.margins) and first.margins.dtype == np.float32
    np.testing.assert_allclose(first.margins, first.scores / 2, rtol=1e-3)


def test_ids_of_objects_are_kept_where_objects_are_asked_for(desk: Desk) -> None:
    images: Any = desk.images
    desk.memory()  # builds the categories
    memory = RecentSegmentations(images, desk.engine, PredictionSettings(), instances=desk.engine)
    first, second = (memory.of(HERE, BOTH, since_s=NEVER) for _ in range(2))
    assert desk.engine.segmented == 1
    assert first.instance_map is not None and second.instance_map is not None
    assert first.instance_map.dtype == np.int32 and set(np.unique(first.instance_map)) == {0, 1, 2}
    assert np.array_equal(first.instance_map, second.instance_map)
    assert desk.memory().of(HERE, BOTH, since_s=NEVER).instance_map is None


def test_a_whole_prediction_fetches_but_does_not_segment_the_same_pixels_again(desk: Desk) -> None:
    memory = desk.memory()
    for _ in range(2):
        memory.of(HERE, BOTH, since_s=ALWAYS)
    assert (len(desk.images.asked), desk.engine.segmented) == (2, 1)


def test_an_image_that_was_fetched_since_is_not_fetched_again(desk: Desk) -> None:
    memory = desk.memory()
    memory.of(HERE, BOTH, since_s=desk.now_s)
    memory.of(HERE, BOTH, since_s=desk.now_s)
    assert len(desk.images.asked) == 1
    memory.of(HERE, BOTH, since_s=desk.now_s + 0.1)
    assert len(desk.images.asked) == 2


@pytest.mark.parametrize(("until_s", "within_s"), [(1030.0, 30.0), (np.inf, np.inf)])
def test_an_image_is_fetched_within_the_time_that_is_left(desk: Desk, until_s: float, within_s: float) -> None:
    desk.memory().of(HERE, BOTH, since_s=NEVER, until_s=until_s)
    assert desk.images.within_s == within_s


def test_an_image_that_was_replaced_is_seen_when_its_time_is_over(desk: Desk) -> None:
    memory = desk.memory(remember_s=600.0)
    memory.of(HERE, BOTH, since_s=NEVER)
    blank = np.full_like(red_and_blue(), 120)
    desk.images.at[HERE.reference] = blank
    desk.now_s += 600.0
    assert memory.of(HERE, BOTH, since_s=NEVER).label_map.any()
    desk.now_s += 0.1
    assert not memory.of(HERE, BOTH, since_s=NEVER).label_map.any()
    assert not memory.of(HERE, BOTH, since_s=NEVER).label_map.any()
    assert (len(desk.images.asked), desk.engine.segmented) == (2, 2)


def test_the_same_pixels_at_another_address_are_not_segmented_again(desk: Desk) -> None:
    memory = desk.memory()
    desk.images.at["/copy.png"] = red_and_blue()
    memory.of(HERE, BOTH, since_s=NEVER)
    memory.of(ImageAddress("/copy.png", 2), BOTH, since_s=NEVER)
    assert (len(desk.images.asked), desk.engine.segmented) == (2, 1)


def test_another_task_is_another_address(desk: Desk) -> None:
    memory = desk.memory()
    memory.of(HERE, BOTH, since_s=NEVER)
    memory.of(ImageAddress(HERE.reference, 2), BOTH, since_s=NEVER)
    assert len(desk.images.asked) == 2


@pytest.mark.parametrize(
    "other",
    [{RED: "key of red"}, {BLUE: "key of blue", RED: "key of red"}, {RED: "key of red", BLUE: "another key"}],
)
def test_another_vocabulary_order_or_prototype_set_is_segmented_anew(desk: Desk, other: dict[Category, str]) -> None:
    memory = desk.memory()
    memory.of(HERE, BOTH, since_s=NEVER)
    memory.of(HERE, other, since_s=NEVER)
    assert desk.engine.segmented == 2


def test_the_memory_is_bounded_by_bytes_and_drops_what_was_not_used_longest(desk: Desk) -> None:
    memory = desk.memory(remember_bytes=2 * SIZE_BYTES)
    places = [ImageAddress(f"/{number}.png", 1) for number in range(3)]
    for number, address in enumerate(places):
        desk.images.at[address.reference] = red_and_blue()
        desk.images.at[address.reference][0, 0] = number
    for number in (0, 1, 0, 2):
        memory.of(places[number], BOTH, since_s=NEVER)
    assert (desk.engine.segmented, memory._kept_bytes) == (3, 2 * SIZE_BYTES)
    memory.of(places[0], BOTH, since_s=NEVER)
    assert desk.engine.segmented == 3
    memory.of(places[1], BOTH, since_s=NEVER)
    assert desk.engine.segmented == 4


@pytest.mark.parametrize("limits", [{"remember_bytes": 0}, {"remember_bytes": SIZE_BYTES - 1}])
def test_what_is_too_large_is_not_kept(desk: Desk, limits: dict[str, int]) -> None:
    memory = desk.memory(**limits)
    for _ in range(2):
        memory.of(HERE, BOTH, since_s=NEVER)
    assert (desk.engine.segmented, memory._kept_bytes) == (2, 0)


def test_more_categories_than_a_byte_can_tell_apart(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = desk.memory()
    monkeypatch.setattr(desk.engine, "has", lambda category: True)
    many = {Category(f"white {number}"): str(number) for number in range(300)} | {RED: "key"}
    assert memory.of(HERE, many, since_s=NEVER).label_map.max() == 301


class CountedFuture(Future[Any]):
    """A future that counts the threads that wait for it."""

    waiting = 0

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            CountedFuture.waiting += 1
        try:
            return super().result(timeout)
        finally:
            del self  # as the method of Future does, so that an error's traceback does not hold it


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[CountedFuture]:
    monkeypatch.setattr("backend.serving.predicting.recent.Future", CountedFuture)
    monkeypatch.setattr(CountedFuture, "waiting", 0)
    return CountedFuture


def held(desk: Desk) -> tuple[threading.Event, threading.Event]:
    """Make the engine wait; return the events that it waits, and that it may go on."""
    waits, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        waits.set()
        go_on.wait(60)

    desk.engine.on_segment = hold
    return waits, go_on


def test_two_at_the_same_time_share_one_computation(desk: Desk, counted: type[CountedFuture]) -> None:
    memory = desk.memory(remember_bytes=0)
    waits, go_on = held(desk)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(memory.of, HERE, BOTH, since_s=desk.now_s)
        assert waits.wait(60)
        others = [pool.submit(memory.of, HERE, BOTH, since_s=desk.now_s) for _ in range(3)]
        assert eventually(lambda: counted.waiting == 3)
        go_on.set()
        results = [future.result(60).label_map for future in (first, *others)]
    assert (len(desk.images.asked), desk.engine.segmented) == (1, 1)
    assert all(np.array_equal(results[0], other) for other in results)


def test_an_error_reaches_all_who_wait_and_is_not_kept(desk: Desk, counted: type[CountedFuture]) -> None:
    memory = desk.memory()
    waits, go_on = held(desk)
    hold = desk.engine.on_segment

    def fail() -> None:
        hold()
        raise MemoryError("no room")

    desk.engine.on_segment = fail
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(memory.of, HERE, BOTH, since_s=desk.now_s)
        assert waits.wait(60)
        second = pool.submit(memory.of, HERE, BOTH, since_s=desk.now_s)
        assert eventually(lambda: counted.waiting == 1)
        go_on.set()
        for future in (first, second):
            with pytest.raises(MemoryError, match="no room"):
                future.result(60)
    desk.engine.on_segment = lambda: None
    assert memory.of(HERE, BOTH, since_s=NEVER).label_map.any()


@pytest.mark.parametrize(("until_s", "fetched"), [(2000.0, 2), (1001.0, 1)])
def test_who_has_more_time_than_the_other_tries_again_where_the_other_s_image_was_cut_off(
    until_s: float, fetched: int, desk: Desk, counted: type[CountedFuture]
) -> None:
    """The second request got a failure although it had time."""
    memory = desk.memory()
    waits, go_on = held(desk)
    hold = desk.engine.on_segment

    def cut_off() -> None:
        hold()
        desk.engine.on_segment = lambda: None
        raise ImageFetchError("it did not arrive in time.")

    desk.engine.on_segment = cut_off
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(memory.of, HERE, BOTH, since_s=desk.now_s, until_s=1001.0)
        assert waits.wait(60)
        second = pool.submit(memory.of, HERE, BOTH, since_s=desk.now_s, until_s=until_s)
        assert eventually(lambda: counted.waiting == 1)
        go_on.set()
        assert isinstance(first.exception(10), ImageFetchError)
        assert (second.exception(10) is None) == (fetched == 2)
    assert len(desk.images.asked) == fetched


def test_a_failure_leaves_nothing_in_memory(desk: Desk, counted: type[CountedFuture]) -> None:
    memory = desk.memory()
    waits, go_on = held(desk)
    hold, errors = desk.engine.on_segment, []

    def fail() -> None:
        hold()
        error = ImageDecodeError("damaged")
        errors.append(weakref.ref(error))  # whose traceback holds the pixels
        try:
            raise error
        finally:
            del error

    def ask() -> None:
        with suppress(ImageDecodeError):
            memory.of(HERE, BOTH, since_s=desk.now_s)

    desk.engine.on_segment = fail
    gc.disable()
    try:
        with in_background(ask):
            assert waits.wait(60)
            with in_background(ask):
                assert eventually(lambda: counted.waiting == 1)
                go_on.set()
        assert [error() for error in errors] == [None]
    finally:
        gc.enable()


def test_an_image_that_cannot_be_fetched_is_asked_for_again(desk: Desk) -> None:
    memory, nowhere = desk.memory(), ImageAddress("/nowhere.png", 1)
    for _ in range(2):
        with pytest.raises(ImageFetchError):
            memory.of(nowhere, BOTH, since_s=NEVER)
    desk.images.at["/nowhere.png"] = red_and_blue()
    assert memory.of(nowhere, BOTH, since_s=NEVER).label_map.any()


def test_the_number_of_addresses_is_limited(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.serving.predicting.recent.MOST_ADDRESSES", 2)
    memory = desk.memory()
    for task in (1, 2, 3):
        memory.of(ImageAddress(HERE.reference, task), BOTH, since_s=NEVER)
    asked = len(desk.images.asked)
    memory.of(ImageAddress(HERE.reference, 3), BOTH, since_s=NEVER)
    assert len(desk.images.asked) == asked
    memory.of(ImageAddress(HERE.reference, 1), BOTH, since_s=NEVER)
    assert len(desk.images.asked) == asked + 1


class Taught(FakeEngine):
    """An engine that learns: what it was taught changes its masks."""

    taught = ""
    lessons: Any = None

    def lesson_address(self, *_: object) -> str:
        raise NotImplementedError

    def draft_lesson(self, *_: object) -> None:
        raise NotImplementedError

    def learn(self, *_: object) -> None:
        raise NotImplementedError

    def lessons_version(self, _vocabulary: Vocabulary) -> str:
        return self.taught


@pytest.mark.parametrize("change", [{"taught": "a lesson"}, {"name": "another head"}])
def test_what_was_remembered_before_a_lesson_or_a_new_head_is_not_given_after_it(
    change: dict[str, str], tmp_path: Path
) -> None:
    """`ovdiff learn` beside a running service changed the version, and the old masks came under it."""
    desk = Desk(Taught(tmp_path / "bank"))
    assert isinstance(desk.engine, Learns)
    memory = desk.memory()
    memory.of(HERE, BOTH, since_s=NEVER)
    memory.of(HERE, BOTH, since_s=NEVER)
    assert desk.engine.segmented == 1
    for name, value in change.items():
        setattr(desk.engine, name, value)
    desk.memory()  # builds the categories
    memory.of(HERE, BOTH, since_s=NEVER)
    memory.of(HERE, BOTH, since_s=NEVER)
    assert desk.engine.segmented == 2


def test_an_image_is_opened_beside_its_segmentation_which_is_kept(desk: Desk) -> None:
    memory = desk.memory()
    with memory.opened(HERE, BOTH, until_s=desk.now_s + 7) as (pixels, found):
        assert np.array_equal(pixels, red_and_blue())
        assert found.label_map[24, 16] == 1
        assert desk.images.open == 1, "there is room for it until the block ends"
        assert desk.images.within_s == 7
    assert desk.images.open == 0
    assert memory.of(HERE, BOTH, since_s=NEVER).label_map[24, 48] == 2
    with memory.opened(HERE, BOTH):
        pass
    assert desk.engine.segmented == 1
    assert desk.images.asked == [HERE.reference] * 2, "its pixels are wanted, so it is fetched"


def test_who_asks_for_an_image_of_now_gets_none_that_was_fetched_before(desk: Desk) -> None:
    """The image is replaced while the old one is segmented, and only then somebody opens the task."""
    memory, began, go_on = desk.memory(), threading.Event(), threading.Event()

    def hold() -> None:
        began.set()
        assert go_on.wait(60)

    desk.engine.on_segment = hold
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(memory.of, HERE, BOTH, since_s=desk.now_s)
        assert began.wait(60)
        desk.images.at[HERE.reference] = red_and_blue()[:, ::-1].copy()
        desk.now_s += 5.0
        second = pool.submit(memory.of, HERE, BOTH, since_s=desk.now_s)
        with pytest.raises(ImageWaitError, match="took longer than this one could wait"):
            memory.of(HERE, BOTH, since_s=0.0, until_s=desk.now_s)
        go_on.set()
        assert np.array_equal(first.result(60).label_map[:, ::-1], second.result(10).label_map)
    assert len(desk.images.asked) == 2 and desk.engine.segmented == 2
