import threading
from collections.abc import Callable

import pytest

from backend.errors import LabelStudioAPIError, LabelStudioDownError, LabelStudioRefusedError, LabelStudioSlowError
from backend.serving.prelabelling.patience import Patience


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds

    def patience(self, within_s: float = 60.0, stopping: threading.Event | None = None) -> Patience:
        return Patience(within_s, stopping=stopping, clock_s=lambda: self.now_s, sleep=self.sleep)


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = [times]

    def request() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return "found"

    return request


@pytest.mark.parametrize("error", [LabelStudioDownError("away"), LabelStudioSlowError("slow")])
def test_what_may_pass_is_asked_again_with_growing_pauses(error: Exception) -> None:
    clock = Clock()
    assert clock.patience().ask(failing(6, error)) == "found"
    assert clock.pauses == [1, 2, 4, 8, 15, 15]


def test_it_ends_in_words_when_the_time_is_over() -> None:
    clock = Clock()
    with pytest.raises(LabelStudioAPIError, match=r"^away It was asked again for 60 s\.$"):
        clock.patience().ask(failing(99, LabelStudioDownError("away")))
    assert sum(clock.pauses) == 60


@pytest.mark.parametrize("error", [LabelStudioRefusedError("no"), LabelStudioAPIError("no")])
def test_a_refusal_is_no_reason_to_ask_again(error: Exception) -> None:
    clock = Clock()
    with pytest.raises(type(error), match="no"):
        clock.patience().ask(failing(1, error))
    assert clock.pauses == []


def test_nobody_waits_when_all_is_to_end() -> None:
    stopping = threading.Event()
    stopping.set()
    clock = Clock()
    with pytest.raises(LabelStudioDownError):
        clock.patience(stopping=stopping).ask(failing(1, LabelStudioDownError("away")))
    assert clock.pauses == []
