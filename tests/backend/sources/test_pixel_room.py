import threading

import pytest

from backend.errors import ImageWaitError
from backend.sources.pixel_room import PixelRoom


class Visitor:
    """A thread that takes room, says so, and leaves when it is told to."""

    def __init__(self, room: PixelRoom, px: int, *, gives_way: bool = False) -> None:
        self.inside, self.leave = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._visit, args=(room, px, gives_way), daemon=True)
        self._thread.start()

    def _visit(self, room: PixelRoom, px: int, gives_way: bool) -> None:
        with room.taken(px, gives_way=gives_way):
            self.inside.set()
            self.leave.wait(60.0)

    def end(self) -> None:
        self.leave.set()
        self._thread.join(60.0)


def gets_in(visitor: Visitor) -> bool:
    return visitor.inside.wait(60.0)


def waits(visitor: Visitor) -> bool:
    return not visitor.inside.wait(0.1)


@pytest.mark.timeout(120)
def test_images_that_fit_are_inside_at_once_and_others_wait() -> None:
    room = PixelRoom(100)
    first, second = Visitor(room, 60), Visitor(room, 40)
    assert gets_in(first)
    assert gets_in(second)
    third = Visitor(room, 1)
    assert waits(third)
    second.end()
    assert gets_in(third)
    first.end()
    third.end()


@pytest.mark.timeout(120)
def test_an_image_larger_than_the_room_gets_in_alone() -> None:
    room = PixelRoom(100)
    small = Visitor(room, 1)
    assert gets_in(small)
    large = Visitor(room, 1000)
    assert waits(large)
    small.end()
    assert gets_in(large)
    later = Visitor(room, 1)
    assert waits(later)
    large.end()
    assert gets_in(later)
    later.end()


@pytest.mark.timeout(120)
def test_small_images_do_not_overtake_a_large_one() -> None:
    room = PixelRoom(100)
    first = Visitor(room, 50)
    assert gets_in(first)
    large = Visitor(room, 100)
    assert waits(large)
    small = Visitor(room, 1)  # there would be room for it
    assert waits(small)
    first.end()
    assert gets_in(large)
    large.end()
    assert gets_in(small)
    small.end()


@pytest.mark.timeout(120)
def test_who_gives_way_gets_in_when_nobody_else_waits() -> None:
    room = PixelRoom(100)
    first = Visitor(room, 100)
    assert gets_in(first)
    polite = Visitor(room, 100, gives_way=True)
    assert waits(polite)
    later = Visitor(room, 100)
    assert waits(later)
    first.end()
    assert gets_in(later) and waits(polite)
    later.end()
    assert gets_in(polite)
    polite.end()


def test_room_is_given_back_after_an_error() -> None:
    room = PixelRoom(100)
    with pytest.raises(ValueError, match="inside"), room.taken(100):
        raise ValueError("inside")
    with room.taken(100):
        pass


@pytest.mark.timeout(120)
def test_who_finds_no_room_in_time_is_told_and_holds_up_nobody() -> None:
    room = PixelRoom(100)
    first = Visitor(room, 60)
    assert gets_in(first)
    refused = pytest.raises(ImageWaitError, match=r"no room for its 50 pixels in time \(OVDIFF_PIXELS_AT_ONCE\)")
    with refused, room.taken(50, within_s=0.05):
        pytest.fail("there is no room")
    second = Visitor(room, 40)
    assert gets_in(second)
    first.end()
    second.end()
