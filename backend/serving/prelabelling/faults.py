"""When a run is to end: what fails its tasks is no fault of their images, and would meet all other tasks, too."""

from __future__ import annotations

from backend.errors import RequestError
from backend.serving.predicting.predictions import Answer

MOST_IN_A_ROW = 10  # tasks that fail for another reason than their images, before the run ends


class Faults:
    """Watches what becomes of a run's tasks. For one thread."""

    def __init__(self, *, are_retried: bool = False) -> None:
        """Know of no fault.

        Args:
            are_retried: whether all of the tasks have failed before. Then failures in a row are to be expected, and say
                nothing of the other tasks.
        """
        self._in_a_row, self._are_retried = 0, are_retried

    def note(self, answer: Answer) -> None:
        """Take what became of a task.

        Raises:
            RequestError: the other tasks would surely fail, too, or so many have failed in a row that they may.
        """
        if answer.kind == "answered":
            self._in_a_row = 0
        if answer.reach == "task":
            return
        self._in_a_row += 1
        if answer.reach == "all":
            raise RequestError(f"{answer.item['error']} Every other image would fail, too, so the run ends.")
        if self._in_a_row >= MOST_IN_A_ROW and not self._are_retried:
            raise RequestError(
                f"{self._in_a_row} images in a row failed, and not by their own fault, so the run ends. The last one: "
                f"{answer.item['error']}"
            )
