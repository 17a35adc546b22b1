import pytest

from backend.errors import RequestError
from backend.serving.predicting.predictions import Answer, Reach
from backend.serving.prelabelling.faults import MOST_IN_A_ROW, Faults

GOOD = Answer({"result": []}, "answered")


def failed(reach: Reach) -> Answer:
    return Answer({"error": "The GPU is gone."}, "failed", "RuntimeError", reach)


def test_images_that_fail_by_themselves_end_no_run() -> None:
    faults = Faults()
    for _ in range(3 * MOST_IN_A_ROW):
        faults.note(failed("task"))


def test_so_many_failures_in_a_row_end_a_run() -> None:
    faults = Faults()
    for answer in [*[failed("perhaps all")] * (MOST_IN_A_ROW - 1), GOOD] * 3:
        faults.note(answer)
    for answer in [failed("perhaps all"), failed("task")] * (MOST_IN_A_ROW - 1):
        faults.note(answer)
    with pytest.raises(RequestError, match=r"^10 images in a row failed, .* so the run ends\. The last one: The GPU"):
        faults.note(failed("perhaps all"))


def test_tasks_that_failed_before_may_fail_in_a_row_again() -> None:
    faults = Faults(are_retried=True)
    for _ in range(3 * MOST_IN_A_ROW):
        faults.note(failed("perhaps all"))
    with pytest.raises(RequestError, match="Every other image would fail, too"):
        faults.note(failed("all"))


def test_what_surely_meets_all_ends_a_run_at_once() -> None:
    with pytest.raises(RequestError, match=r"^The GPU is gone\. Every other image would fail, too, so the run ends\.$"):
        Faults().note(failed("all"))
