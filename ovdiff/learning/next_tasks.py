"""Which images to annotate next: those from which lessons would learn most. Pure functions; never imports torch.

An annotation teaches about images that look like its own. So the first tasks together stand for all candidates, above
all for those that the method is unsure of. The next task i is the one of the largest::

    value(i | C) = mean over candidates j of  need(j) * max(0, like(i, j) - max over k of like(k, j))

    like(i, j)   (1 + cosine of CLIP's vectors of the images i and j) / 2
    k            the images of lessons in force, and the tasks C that were chosen before
    need(j)      sqrt(1/4 + doubt(j)) * unlike(j) * sqrt(1 + sum over the words found in j of  1 / (1 + n_w))
    doubt(j)     1 minus the mean score of the regions in j; 1/2 if there is none
    unlike(j)    1 minus the mean over the pixels of the best score by Eq. 4: how unlike all prototypes j is
    n_w          the lessons in force in which a person confirmed word w, and the tasks of C in which it was found

Tasks are chosen greedily, of equal ones the first (facility location; Wei et al., "Submodularity in Data Subset
Selection and Active Learning", ICML 2015). So the first eight are not eight of a kind. In trials on crowded drawn
scenes, orders by doubt alone or by unconfirmed words alone taught no more than chance: what stands for many images
matters more. If images are encoded without CLIP, ``like`` is 1 for an image and itself, and else 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLOSE = 0.02
"""A pixel could have been either of two words if their scores differ by less."""
_FEW = 0.01
"""Two words of which less of an image could have been either are no reason."""
_DOUBTED = 0.5
_NAMED = 3
_MOST_STANDING = 1000


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
        doubt: 1 minus the mean score of the regions, in [0, 1].
        unlike: how unlike all prototypes the image is: 1 minus the mean best score, in [0, 1].
        seen: the largest likeness to an image of a lesson in force, in [0, 1]; 0 if there is none.
        embedding: (P,) float32, CLIP's unit vector of the image; ``None`` if it was encoded without CLIP.
    """

    words: tuple[FoundWord, ...]
    rivals: tuple[Rivals, ...]
    doubt: float
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

    Cost: four bytes for each candidate and each of at most 1,000 candidates, evenly taken, that stand for all of them,
    and as many steps for each task that is wanted.

    Args:
        candidates: the images that nobody has annotated.
        count: how many are wanted; ``None`` means all.
    """
    number = len(candidates) if count is None else max(0, min(count, len(candidates)))
    if not number:
        return []
    places = np.linspace(0, len(candidates) - 1, min(len(candidates), _MOST_STANDING)).round().astype(np.intp)
    standing = [candidates[place] for place in places]
    alike = _likeness(candidates, standing, places)
    covered: NDArray[np.float32] = np.array([task.seen for task in standing], dtype=np.float32)
    confirmed = {word.name: word.lessons for task in candidates for word in task.words}
    left, chosen = np.ones(len(candidates), dtype=bool), list[NextTask]()
    for _ in range(number):
        needs = np.array([_need(task, confirmed) for task in standing])
        values = np.maximum(alike - covered, 0) @ needs / len(standing)
        index = int(np.where(left, values, -np.inf).argmax())
        chosen.append(NextTask(index, float(values[index])))
        left[index] = False
        covered = np.maximum(covered, alike[index])
        confirmed |= {word.name: confirmed[word.name] + 1 for word in candidates[index].words}
    return chosen


def _need(task: TaskScore, confirmed: Mapping[str, int]) -> float:
    """Return how much an image needs that somebody annotates what looks like it."""
    fresh = sum(1 / (1 + confirmed[word.name]) for word in task.words)
    return float(np.sqrt(0.25 + task.doubt) * task.unlike * np.sqrt(1 + fresh))


def likeness(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how alike images look by CLIP, in [0, 1], for unit vectors (n, P) and (m, P), as (n, m) float32."""
    return np.asarray((1 + first @ second.T) / 2, dtype=np.float32)


def _likeness(
    candidates: Sequence[TaskScore], standing: Sequence[TaskScore], places: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return the likeness (n, m) of each candidate and of those that stand for all, whose places are given."""
    vectors, others = ([task.embedding for task in tasks] for tasks in (candidates, standing))
    found = np.zeros((len(vectors), len(others)), dtype=np.float32)
    rows = [row for row, vector in enumerate(vectors) if vector is not None]
    columns = [column for column, vector in enumerate(others) if vector is not None]
    if rows and columns:
        known = [np.stack([vector for vector in each if vector is not None]) for each in (vectors, others)]
        found[np.ix_(rows, columns)] = likeness(*known)
    found[places, np.arange(len(places))] = 1
    return found


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
