import threading

import pytest

from backend.errors import BusyError, RequestError
from backend.pages.work import Work
from tests.fakes.waiting import eventually


def state(work: Work, about: str) -> str | None:
    piece = work.of(about)
    return None if piece is None else piece.state


def test_work_waits_runs_and_leaves_its_result() -> None:
    work, gate = Work(), threading.Event()
    work.start("a", "A", lambda: gate.wait(60))
    work.start("b", "B", lambda: "done")
    assert eventually(lambda: state(work, "a") == "running")
    assert state(work, "b") == "waiting"
    gate.set()
    assert eventually(lambda: state(work, "b") == "done")
    assert work.of("b").result == "done"  # type: ignore[union-attr]
    assert work.of("nothing") is None
    work.forget("b")
    assert work.of("b") is None


def test_another_wish_about_what_is_going_on_is_refused_in_words() -> None:
    work, gate, begun = Work(), threading.Event(), []
    work.start("a", "One thing", lambda: gate.wait(60), what=1)
    work.start("a", "One thing", lambda: begun.append("again"), what=1)
    for title, what in (("Another thing", 1), ("One thing", 2)):
        with pytest.raises(BusyError, match=f"'{title}' was not begun: 'One thing' is still to be finished. Wait"):
            work.start("a", title, lambda: begun.append("other"), what=what)
    gate.set()
    assert eventually(lambda: state(work, "a") == "done")
    work.start("a", "Another thing", lambda: begun.append("other"))
    assert eventually(lambda: begun == ["other"])


def test_what_is_going_on_is_not_begun_twice() -> None:
    work, gate, begun = Work(), threading.Event(), []
    for number in (1, 2):
        work.start("a", "A", lambda number=number: begun.append(number) or gate.wait(60))
    work.forget("a")
    assert state(work, "a") in ("waiting", "running"), "what goes on is not forgotten"
    gate.set()
    assert eventually(lambda: state(work, "a") == "done")
    work.start("a", "A", lambda: begun.append(3))
    assert eventually(lambda: begun == [1, 3])


@pytest.mark.parametrize(
    ("error", "said"),
    [(RequestError("mend this"), "mend this"), (RuntimeError("secret"), "unexpected RuntimeError; the service's log")],
)
def test_a_failure_is_told_and_the_next_piece_is_done(error: Exception, said: str) -> None:
    work = Work()

    def fail() -> None:
        raise error

    work.start("a", "A", fail)
    work.start("b", "B", lambda: 1)
    assert eventually(lambda: state(work, "b") == "done")
    assert work.of("a").error.startswith(said)  # type: ignore[union-attr]


def test_only_so_much_is_remembered_and_only_so_much_may_wait() -> None:
    work, gate = Work(most=2), threading.Event()
    work.start("a", "A", lambda: None)
    assert eventually(lambda: state(work, "a") == "done")
    work.start("b", "B", lambda: gate.wait(60))
    work.start("c", "C", lambda: None)
    assert state(work, "a") is None, "the oldest that is finished gives way"
    with pytest.raises(BusyError, match="2 other changes wait"):
        work.start("d", "D", lambda: None)
    gate.set()
