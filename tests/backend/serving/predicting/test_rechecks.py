"""What is looked at behind an answer: by an injected clock, and a thread that takes no pause."""

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from backend.errors import ImageFetchError
from backend.serving.predicting.recent import ImageAddress
from backend.serving.predicting.rechecks import Belief, Rechecks
from tests.fakes.waiting import eventually

FIRST = Belief(ImageAddress("/data/upload/1/1f2e3d4c-a.png?x=secret", 7), "old", "k7")
SECOND = Belief(ImageAddress("/data/upload/1/1f2e3d4c-a.png", 8), "old", "k8")


class Images:
    """Says which content an image has, and which images it was asked for."""

    def __init__(self) -> None:
        self.contents: dict[int | None, str] = {}
        self.asked: list[int | None] = []
        self.dropped: list[str] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.now_s = 0.0
        self.fails = False

    def is_still(self, belief: Belief) -> bool:
        self.asked.append(belief.address.task)
        assert self.may_go_on.wait(60)
        if self.fails:
            raise ImageFetchError("it answered 404")
        return self.contents.get(belief.address.task, "old") == belief.signs


@pytest.fixture
def images() -> Images:
    return Images()


@pytest.fixture
def make(images: Images) -> Iterator[Callable[..., Rechecks]]:
    made: list[Rechecks] = []

    def begin(pause_s: float = 0.0) -> Rechecks:
        made.append(
            Rechecks(
                images.is_still, images.dropped.append, every_s=60.0, pause_s=pause_s, clock_s=lambda: images.now_s
            )
        )
        return made[-1]

    yield begin
    images.may_go_on.set()
    for rechecks in made:
        rechecks.stop()


def test_what_was_made_of_another_image_is_dropped_and_told(
    images: Images, make: Callable[..., Rechecks], caplog: pytest.LogCaptureFixture
) -> None:
    images.contents = {8: "new"}
    rechecks = make()
    with caplog.at_level(logging.WARNING):
        rechecks.soon(FIRST)
        rechecks.soon(SECOND)
        assert eventually(lambda: images.dropped == ["k8"])
    assert images.asked == [7, 8]
    assert "Task 8: /data/upload/1/1f2e3d4c-a.png is another image now" in caplog.text
    assert "open the task: it is predicted anew" in caplog.text and "secret" not in caplog.text


def test_an_image_is_looked_at_once_in_a_while(images: Images, make: Callable[..., Rechecks]) -> None:
    rechecks = make()
    rechecks.soon(FIRST)
    assert eventually(lambda: images.asked == [7])
    images.now_s = 59.9
    rechecks.soon(FIRST)
    rechecks.soon(SECOND)
    assert eventually(lambda: len(images.asked) == 2) and images.asked == [7, 8]
    images.now_s = 60.0
    rechecks.soon(FIRST)
    assert eventually(lambda: images.asked == [7, 8, 7])


def test_an_image_that_waits_is_not_looked_at_twice_and_few_may_wait(
    images: Images, make: Callable[..., Rechecks], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.serving.predicting.rechecks.MOST_WAITING", 2)
    images.may_go_on.clear()
    rechecks = make()
    rechecks.soon(FIRST)
    assert eventually(lambda: images.asked == [7])
    for number in (8, 8, 9, 10):
        rechecks.soon(Belief(ImageAddress("x", number), "old", f"k{number}"))
    images.may_go_on.set()
    assert eventually(lambda: images.asked == [7, 8, 9])
    rechecks.soon(Belief(ImageAddress("x", 10), "old", "k10"))
    assert eventually(lambda: images.asked == [7, 8, 9, 10])


def test_an_image_that_is_gone_says_nothing(
    images: Images, make: Callable[..., Rechecks], caplog: pytest.LogCaptureFixture
) -> None:
    images.fails = True
    rechecks = make()
    rechecks.soon(FIRST)
    assert eventually(lambda: images.asked == [7])
    images.fails, images.contents = False, {8: "new"}
    rechecks.soon(SECOND)
    assert eventually(lambda: images.dropped == ["k8"]) and "unexpectedly" not in caplog.text


def test_it_takes_a_pause_and_ends_in_it(images: Images, make: Callable[..., Rechecks]) -> None:
    rechecks = make(pause_s=3600.0)
    rechecks.soon(FIRST)
    rechecks.soon(SECOND)
    assert eventually(lambda: images.asked == [7])
    assert not eventually(lambda: len(images.asked) > 1, timeout_s=0.1)
    rechecks.stop()
    assert eventually(lambda: not any(thread.name == "ovdiff-rechecks" for thread in threading.enumerate()))
    rechecks.soon(SECOND)
    assert images.asked == [7]
