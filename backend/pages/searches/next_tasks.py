"""Which tasks of a project to annotate next, because lessons would learn most from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.pages.searches.task_search import TaskSearch
from backend.sources.few_tasks import BareTask
from ovdiff.engines.learning import ScoresTasks
from ovdiff.learning.next_tasks import TaskScore, choose, reasons
from ovdiff.vocabulary import Vocabulary

MOST_SHOWN = 20


@dataclass(frozen=True)
class NextRow:
    """A task to annotate: what it is worth beside those before it, why, and which words were found in it."""

    task: BareTask
    value: float
    why: tuple[str, ...]
    words: tuple[str, ...]


def find_next_tasks(search: TaskSearch, engine: ScoresTasks) -> tuple[NextRow, ...]:
    """Look at the open tasks of a project, and return those to annotate first.

    Raises:
        LabelStudioAPIError: Label Studio did not answer.
    """
    tasks: list[BareTask] = []
    scores: list[TaskScore] = []

    def visit(task: BareTask, pixels: NDArray[np.uint8], vocabulary: Vocabulary) -> bool:
        score = engine.task_score(pixels, vocabulary)
        if score is None:  # its image was taught
            return False
        tasks.append(task)
        scores.append(score)
        return True

    search.run(visit)
    return tuple(
        NextRow(
            tasks[each.index],
            each.value,
            reasons(scores[each.index]),
            tuple(word.name for word in scores[each.index].words),
        )
        for each in choose(scores, MOST_SHOWN)
    )
