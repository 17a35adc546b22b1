"""Which images to annotate next: those from which lessons would learn most. Pure functions; never imports torch.

Of an image its prediction is known, and what lessons have shown so far. A task is worth::

    value(i | C) = unlike(i) * apart(i, C) * sum over the words w found in i of  (1 + doubt_iw) / (1 + n_w + m_w)

    doubt_iw     1 minus the score of word w's pixels in image i, which is a probability if scores are calibrated
    n_w          the number of lessons in force in which a person confirmed the word
    m_w          the number of tasks in C that seem to show the word
    unlike(i)    1 minus the mean over the pixels of the best score by Eq. 4: how unlike all prototypes the image is
    apart(i, C)  (1 - the largest cosine of CLIP's vector of image i with those of C and of the lessons' images) / 2

C are the tasks that were chosen before. Tasks are chosen greedily: each time the one of the largest value, and of equal
ones the first. So words that nobody has confirmed come first, and the first eight tasks are not eight of a kind. Stuff
that the method is sure of everywhere comes later than a thing that it doubts. If images are encoded without CLIP,
``apart`` is 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLOSE = 0.02
"""A pixel could have been either of two words if their scores differ by less."""
_FEW = 0.01
"""Two words of which less of an image could have been either are no reason."""
_DOUBTED = 0.5
_NAMED = 3


@dataclass(frozen=True)
class FoundWord:
    """A word that the prediction found in an image.

    Attributes:
        name: the word.
        share: the share of the image that it covers.
        score: how sure the method is of it, in [0, 1].
        lessons: the number of lessons in force in which a person confirmed the word.
    """

    name: str
    share: float
    score: float
    lessons: int


@dataclass(frozen=True)
class Rivals:
    """Two words, or a word and background, between which the prediction was close.

    Attributes:
        words: both names; "background" is one, too.
        share: the share of the image whose scores of the two differ by less than :data:`CLOSE`.
    """

    words: tuple[str, str]
    share: float


@dataclass(frozen=True)
class TaskScore:
    """What an image promises to teach, without regard to other images.

    Attributes:
        words: the words found, in the vocabulary's order.
        rivals: the closest decisions, the largest first.
        unlike: how unlike all prototypes the image is: 1 minus the mean best score, in [0, 1].
        seen: the largest cosine of CLIP's vectors of this image and of one that was taught; -1 without one.
        embedding: (P,) float32, CLIP's unit vector of the image; ``None`` if it was encoded without CLIP.
    """

    words: tuple[FoundWord, ...]
    rivals: tuple[Rivals, ...]
    unlike: float
    seen: float
    embedding: NDArray[np.float32] | None


@dataclass(frozen=True)
class NextTask:
    """A task in the order in which tasks are worth annotating.

    Attributes:
        index: its place among the candidates.
        value: what it was worth beside the tasks before it.
    """

    index: int
    value: float


def choose(candidates: Sequence[TaskScore], count: int | None = None) -> list[NextTask]:
    """Return the tasks to annotate next, the first one first.

    Cost: for n candidates with w words in all, n * w multiplications for each task that is wanted.

    Args:
        candidates: the images that nobody has annotated.
        count: how many are wanted; ``None`` means all.
    """
    number = len(candidates) if count is None else max(0, min(count, len(candidates)))
    names = sorted({word.name for task in candidates for word in task.words})
    teaches, shows, lessons = (np.zeros((len(candidates), len(names))) for _ in range(3))
    for row, task in enumerate(candidates):
        for word in task.words:
            column = names.index(word.name)
            teaches[row, column], shows[row, column], lessons[row, column] = 2 - word.score, 1, word.lessons
    confirmed = lessons.max(axis=0, initial=0)
    unlike = np.array([task.unlike for task in candidates])
    nearest, left = np.array([task.seen for task in candidates]), np.ones(len(candidates), dtype=bool)
    chosen: list[NextTask] = []
    for _ in range(number):
        values = unlike * (1 - nearest) / 2 * (teaches / (1 + confirmed)).sum(axis=1)
        index = int(np.where(left, values, -np.inf).argmax())
        chosen.append(NextTask(index, float(values[index])))
        left[index] = False
        confirmed = confirmed + shows[index]
        nearest = np.maximum(nearest, _cosines(candidates, index))
    return chosen


def reasons(task: TaskScore) -> tuple[str, ...]:
    """Say in words why a task is worth annotating, such as "unsure of mug/ball"; without a reason it says nothing."""
    close = ["/".join(each.words) for each in task.rivals if each.share >= _FEW]
    doubted = [word.name for word in task.words if word.score < _DOUBTED]
    unconfirmed = [word.name for word in task.words if not word.lessons]
    said = []
    if unsure := [*close, *(name for name in doubted if not any(name in pair.split("/") for pair in close))]:
        said.append(f"unsure of {', '.join(unsure[:_NAMED])}")
    if unconfirmed:
        said.append(f"nobody has confirmed {', '.join(unconfirmed[:_NAMED])}")
    if not task.words:
        said.append("nothing was found")
    return tuple(said)


def _cosines(candidates: Sequence[TaskScore], index: int) -> NDArray[np.float64]:
    """Return the cosine of the vector of each candidate and of one of them; -1 where a vector is missing."""
    chosen = candidates[index].embedding
    found = [-1.0 if chosen is None or task.embedding is None else task.embedding @ chosen for task in candidates]
    return np.array(found, dtype=np.float64)
