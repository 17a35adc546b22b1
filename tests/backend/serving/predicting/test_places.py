import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from backend.serving.predicting.places import Places
from tests.fakes.waiting import eventually

FAR_S = 3600.0


def soon() -> float:
    return time.monotonic() + FAR_S


def waiting(places: Places) -> int:
    return len(places._waiting)


def test_there_are_only_so_many_places() -> None:
    places = Places(2, time.monotonic)
    with places.place(soon()) as first, places.place(soon()) as second, places.place(time.monotonic()) as third:
        assert (first, second, third) == (True, True, False)
    with places.place(soon()) as again:
        assert again


def test_when_the_time_is_over_a_free_place_is_not_taken() -> None:
    places = Places(1, lambda: 10.0)
    with places.place(9.9) as late:
        assert not late
        with places.place(10.0) as in_time:
            assert in_time


def test_whoever_waits_longest_comes_first() -> None:
    places, order = Places(1, time.monotonic), []

    def take(number: int) -> None:
        with places.place(soon()):
            order.append(number)

    with ThreadPoolExecutor(8) as pool, places.place(soon()):
        for number in range(8):
            pool.submit(take, number)
            assert eventually(lambda expected=number + 1: waiting(places) == expected)
    assert order == list(range(8))


def test_a_newcomer_does_not_pass_those_who_wait() -> None:
    places, came = Places(1, time.monotonic), threading.Event()

    def take() -> None:
        with places.place(soon()):
            came.set()

    with ThreadPoolExecutor(1) as pool:
        with places.place(soon()):
            pool.submit(take)
            assert eventually(lambda: waiting(places) == 1)
            with places.place(time.monotonic()) as newcomer:
                assert not newcomer
        assert came.wait(60)


def test_who_gives_up_holds_nobody_up() -> None:
    places, patient = Places(1, time.monotonic), threading.Event()

    def take(until_s: float) -> bool:
        with places.place(until_s) as has_place:
            if has_place:
                patient.set()
            return has_place

    with ThreadPoolExecutor(2) as pool:
        with places.place(soon()):
            hasty = pool.submit(take, time.monotonic() + 0.05)
            assert eventually(lambda: waiting(places) == 1 or hasty.done())
            pool.submit(take, soon())
            assert not hasty.result(60)
            assert not patient.is_set()
        assert patient.wait(60)


def test_an_error_gives_the_place_back() -> None:
    places = Places(1, time.monotonic)
    with pytest.raises(ZeroDivisionError), places.place(soon()):
        raise ZeroDivisionError
    with places.place(soon()) as has_place:
        assert has_place
