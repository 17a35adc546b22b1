import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from backend.errors import ImageFetchError
from backend.serving.prelabelling.ahead import FetchedAhead
from backend.settings import ImageSettings
from ovdiff.errors import StorageError
from tests.fakes.waiting import eventually

LARGEST = 100


@dataclass
class Server:
    """Brings images when it is allowed to, and counts them."""

    limits: ImageSettings = field(default_factory=lambda: ImageSettings(image_max_bytes=LARGEST))
    clock_s: Callable[[], float] = lambda: 0.0
    open: threading.Event = field(default_factory=threading.Event)
    sizes: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def fetch(self, reference: str, *, task_id: int | None = None, within_s: float = math.inf) -> bytes:
        self.asked.append(reference)
        assert self.open.wait(60)
        if reference == "gone":
            raise ImageFetchError("gone answered 404.")
        if reference == "away":
            raise StorageError("s3://scenes is away.")
        if reference == "odd":
            raise ZeroDivisionError
        return reference.encode() * self.sizes.get(reference, 1)


def test_images_arrive_before_they_are_asked_for_and_are_fetched_once() -> None:
    server = Server()
    server.open.set()
    ahead = FetchedAhead(server)
    for name in "abc":
        ahead.soon(name, 1)
    assert eventually(lambda: sorted(server.asked) == ["a", "b", "c"])
    assert [ahead.fetch(name, task_id=1) for name in "abc"] == [b"a", b"b", b"c"]
    assert sorted(server.asked) == ["a", "b", "c"]
    assert ahead.fetch("a", task_id=1) == b"a"  # given away once: the next one is fetched anew
    assert server.asked.count("a") == 2
    ahead.close()


@pytest.mark.parametrize("most_bytes", [2 * LARGEST, 3 * LARGEST])
def test_what_waits_and_what_is_on_its_way_is_bounded_in_bytes(most_bytes: int) -> None:
    server = Server(sizes={str(number): LARGEST for number in range(10)})
    ahead = FetchedAhead(server, most_bytes=most_bytes)
    for number in range(10):
        ahead.soon(str(number), None)
    most = most_bytes // LARGEST
    assert eventually(lambda: len(server.asked) == most)
    server.open.set()  # they arrive as large as they may be, so there is room for no other one
    assert not eventually(lambda: len(server.asked) > most, timeout_s=0.2)
    assert len(ahead.fetch("0")) == LARGEST
    assert eventually(lambda: len(server.asked) == most + 1)
    ahead.forget("1", None)
    assert eventually(lambda: len(server.asked) == most + 2)
    ahead.close()


def test_small_images_leave_room_for_more() -> None:
    server = Server()
    server.open.set()
    ahead = FetchedAhead(server, most_bytes=LARGEST + 20, downloads=1)
    for number in range(10):
        ahead.soon(str(number), None)
    assert eventually(lambda: len(server.asked) == 10)
    ahead.close()


def test_so_many_are_on_their_way_at_once() -> None:
    server = Server()
    ahead = FetchedAhead(server, downloads=2)
    for number in range(5):
        ahead.soon(str(number), None)
    assert eventually(lambda: len(server.asked) == 2)
    assert not eventually(lambda: len(server.asked) > 2, timeout_s=0.2)
    server.open.set()
    assert eventually(lambda: len(server.asked) == 5)
    ahead.close()


def test_an_image_whose_turn_has_not_come_does_not_wait_for_it() -> None:
    server = Server(sizes={"0": LARGEST})
    server.open.set()
    ahead = FetchedAhead(server, most_bytes=LARGEST, downloads=1)
    for number in range(3):
        ahead.soon(str(number), None)
    assert eventually(lambda: server.asked == ["0"])
    assert ahead.fetch("2") == b"2"  # though the first one fills the room
    assert ahead.fetch("0") == b"0" * LARGEST
    assert eventually(lambda: server.asked == ["0", "2", "1"])
    ahead.close()


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("gone", ImageFetchError, "gone answered 404"),
        ("away", StorageError, "^s3://scenes is away"),
        ("odd", ImageFetchError, "unexpected ZeroDivisionError"),
    ],
)
def test_an_image_that_fails_fails_where_it_is_asked_for_and_hides_no_other(
    name: str, error: type[Exception], said: str
) -> None:
    server = Server()
    server.open.set()
    ahead = FetchedAhead(server, most_bytes=LARGEST, downloads=1)
    for each in (name, "a"):
        ahead.soon(each, None)
    assert eventually(lambda: server.asked == [name, "a"])
    with pytest.raises(error, match=said):
        ahead.fetch(name)
    assert ahead.fetch("a") == b"a"
    ahead.close()


def test_after_the_end_nothing_is_begun() -> None:
    server = Server()
    server.open.set()
    ahead = FetchedAhead(server)
    ahead.close()
    ahead.soon("a", None)
    assert not eventually(lambda: bool(server.asked), timeout_s=0.1)
    assert ahead.fetch("a") == b"a"
