"""How much the lessons of a project help, by their number: a learning curve of annotated images, without other truth.

::

    for n = 1, 2, 4, 8, ... and all, in the order of annotation:
        leave each of the first n images out; the other n - 1 are its lessons
        before = the share of its cells whose group is right by the prototypes alone
        after  = that share with the other images' lessons

It is what decides whether an extractor uses lessons (:mod:`ovdiff.segmenting.lessons`), asked at several numbers.
"""

from collections.abc import Sequence

from ovdiff.bank.lessons import Lesson
from ovdiff.learning.curve_points import CurvePoint, RightShares
from ovdiff.segmenting.image_segmenter import ImageSegmenter
from ovdiff.segmenting.lessons.model import fit_lessons
from ovdiff.vocabulary import Vocabulary


def learning_curve(segmenter: ImageSegmenter, vocabulary: Vocabulary) -> tuple[CurvePoint, ...]:
    """Return the learning curve of the lessons in force; () without any.

    Cost: some hundredths of a second for each lesson and each doubling of their number. Others get the models between
    two points.

    Raises:
        MissingPrototypesError: some categories must be built first; the message names them.
        WeightsError: CLIP, which decides the kinds of unknown names, cannot be loaded.
    """
    with segmenter.parts.models.lock:
        competition = segmenter.anchors.of(vocabulary)
        tables = segmenter.tables.of(competition.vocabulary)
        stuff = segmenter.kinds.stuff(competition.vocabulary)
    phrases = segmenter.lessons.phrases(competition)
    lessons = sorted(segmenter.lessons.in_force(competition), key=lambda lesson: (lesson.source.when, lesson.address))
    points = []
    for count in _counts(len(lessons)):
        first = _by_address(lessons[:count])
        with segmenter.parts.models.lock:
            model = fit_lessons(first, phrases, competition, tables, stuff, segmenter.parts)
        shares = {name: RightShares(each.before, each.after, each.used) for name, each in model.reports.items()}
        if shares:
            points.append(CurvePoint(count, shares))
    return tuple(points)


def _counts(whole: int) -> list[int]:
    """Return 1, 2, 4, ... below a number, and the number."""
    doubled = [1 << power for power in range(whole.bit_length()) if 1 << power < whole]
    return [*doubled, whole] if whole else []


def _by_address(lessons: Sequence[Lesson]) -> list[Lesson]:
    return sorted(lessons, key=lambda lesson: lesson.address)
