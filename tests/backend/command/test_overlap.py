"""Reading ahead and finishing behind: in order, within bounds, and beside one another; errors come where asked."""

import threading
from collections.abc import Iterator

import pytest

from backend.command.overlap import Behind, begin_ahead, grouped, outcomes

SOON_S = 60.0


def test_outcomes_come_in_the_order_of_the_items_whichever_is_made_first() -> None:
    later = threading.Event()

    def make(item: int) -> int:
        if item == 0:
            assert later.wait(SOON_S)
        if item == 1:
            later.set()
        return 10 * item

    assert [outcome.take() for outcome in outcomes(begin_ahead(range(4), make, most=2, threads=2))] == [0, 10, 20, 30]


def test_the_next_items_are_made_while_one_is_worked_on() -> None:
    made = [threading.Event() for _ in range(3)]
    made_ahead = outcomes(begin_ahead(range(3), lambda item: made[item].set(), most=1))
    next(made_ahead)
    assert made[1].wait(SOON_S)  # while the first is still in hand
    made_ahead.close()


def test_no_more_are_made_ahead_than_fit_and_one_alone_always_does() -> None:
    sizes, begun = [1, 1, 5, 1, 1, 1], list[int]()
    made_ahead = outcomes(begin_ahead(sizes, begun.append, most=3, fits=lambda some: sum(some) <= 2))
    next(made_ahead)
    made_ahead.close()  # waits for what is being made
    assert sum(begun) <= 2
    assert [each.item for each in outcomes(begin_ahead(sizes, str, most=3, fits=lambda some: sum(some) <= 2))] == sizes
    assert list(grouped(sizes, 3, lambda some: sum(some) <= 3)) == [[1, 1], [5], [1, 1, 1]]


def test_no_more_than_so_many_are_made_ahead() -> None:
    begun: list[int] = []
    made_ahead = outcomes(begin_ahead(range(100), begun.append, most=3))
    next(made_ahead)
    made_ahead.close()  # waits for what is being made
    assert len(begun) <= 4


def test_an_item_s_error_comes_in_its_place_and_the_others_go_on() -> None:
    def make(item: int) -> int:
        if item == 1:
            raise OSError("unreadable")
        return item

    first, second, third = outcomes(begin_ahead(range(3), make, most=2))
    assert (first.take(), third.take()) == (0, 2)
    with pytest.raises(OSError, match="unreadable"):
        second.take()


def test_an_error_of_the_items_themselves_comes_after_the_outcomes_of_those_before_it() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise OSError("the manifest ends here")

    found: list[int] = []
    with pytest.raises(OSError, match="the manifest ends here"):
        found.extend(outcome.take() for outcome in outcomes(begin_ahead(items(), lambda item: item, most=5)))
    assert found == [1, 2]


def test_what_is_begun_need_not_be_done() -> None:
    go = threading.Event()
    begun = begin_ahead(range(3), lambda item: go.wait(SOON_S) and item, most=1, threads=1)
    first = next(begun)
    assert first.item == 0 and not first.future.done()
    go.set()
    assert [first.outcome().take(), *(each.outcome().take() for each in begun)] == [0, 1, 2]


def test_items_are_grouped() -> None:
    assert list(grouped(range(5), 2)) == [[0, 1], [2, 3], [4]]


def test_work_is_done_behind_in_order_and_all_of_it_before_the_block_ends() -> None:
    go, done = threading.Event(), list[int]()

    def work(number: int) -> None:
        assert go.wait(SOON_S)
        done.append(number)

    with Behind(3) as behind:
        for number in range(3):
            behind.do(lambda number=number: work(number))
        assert done == []  # given, and the giver goes on
        go.set()
    assert done == [0, 1, 2]


def test_whoever_gives_more_than_there_is_room_for_waits() -> None:
    go, given = threading.Event(), threading.Event()

    def give(behind: Behind) -> Iterator[None]:
        behind.do(lambda: go.wait(SOON_S))
        yield
        behind.do(lambda: None)
        given.set()
        yield

    with Behind(1) as behind:
        giving = give(behind)
        next(giving)
        thread = threading.Thread(target=lambda: next(giving))
        thread.start()
        assert not given.wait(0.1)
        go.set()
        thread.join(SOON_S)
        assert given.is_set()


def test_an_error_of_the_work_is_raised_by_the_giver_and_nothing_is_done_after_it() -> None:
    done: list[str] = []

    def fail() -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"), Behind(1) as behind:
        behind.do(fail)
        behind.do(lambda: done.append("after"))
    go = threading.Event()
    with pytest.raises(OSError, match="the disk is full"), Behind(5) as behind:
        behind.do(lambda: go.wait(SOON_S) and fail())
        behind.do(lambda: done.append("given before it failed"))
        go.set()
    assert done == []


def test_the_block_s_own_error_is_not_hidden_by_the_work_s() -> None:
    with pytest.raises(KeyboardInterrupt), Behind(2) as behind:
        behind.do(lambda: 1 / 0)
        raise KeyboardInterrupt


def test_who_goes_on_after_an_error_behind_is_told_it_again_and_waits_for_nothing() -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    def give(behind: Behind) -> None:
        with pytest.raises(OSError, match="the disk is full"):
            behind.do(lambda: None)

    with pytest.raises(OSError, match="the disk is full"), Behind(1) as behind:
        behind.do(fail)
        giving = [threading.Thread(target=give, args=(behind,), daemon=True) for _ in range(2)]
        for each in giving:
            each.start()
        for each in giving:
            each.join(SOON_S)
            assert not each.is_alive()
