"""Which lessons count for a vocabulary, and what they say; the last answers are kept.

Tested by tests/ovdiff/learning/test_lessons_count.py, where an engine has lessons.
"""

import logging
from collections.abc import Sequence

from ovdiff.bank.lesson_store import LessonStore
from ovdiff.bank.lessons import Lesson, set_digest
from ovdiff.bank.recipe import Recipes
from ovdiff.segmenting.anchors import Competition
from ovdiff.segmenting.lessons.model import LessonModel, fit_lessons
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.segmenting.tables import Tables
from ovdiff.vocabulary import Category, Vocabulary, with_phrase

_KEPT = 8
_log = logging.getLogger(__name__)


class Lessons:
    """The lessons in force, made ready for vocabularies. Not thread-safe: use it inside ``with models.lock``."""

    def __init__(self, parts: SegmentingParts, store: LessonStore, recipes: Recipes) -> None:
        """Read no lesson yet."""
        self._parts, self.store, self._recipes = parts, store, recipes
        self._recent: dict[tuple[object, ...], LessonModel | None] = {}

    def of(self, competition: Competition, tables: Tables, stuff: frozenset[int]) -> LessonModel | None:
        """Return what the lessons in force say about a vocabulary; ``None`` if there are none.

        Cost: a look at the lessons' files; for a new set of lessons some hundredths of a second for each lesson.

        Raises:
            WeightsError: CLIP cannot be loaded.
        """
        asked = competition.vocabulary.categories[: competition.asked]
        digest = self.version(Vocabulary(asked))
        if not digest:
            return None
        keys = [self._recipes.prototypes(category).key for category in competition.vocabulary.categories]
        known = (digest, competition.vocabulary.fingerprint(), competition.asked, *keys)
        if known not in self._recent:
            lessons, phrases = self.in_force(competition), self.phrases(competition)
            model = self._fitted(lessons, phrases, competition, tables, stuff)
            if set_digest({lesson.address: lesson.weight for lesson in lessons}) != digest:
                return model  # Somebody has changed the lessons meanwhile.
            self._recent = {**dict(list(self._recent.items())[1 - _KEPT :]), known: model}
        return self._recent[known]

    def version(self, vocabulary: Vocabulary) -> str:
        """Return a hash of the lessons that count for a vocabulary; "" if none does. No model is needed.

        Raises:
            WeightsError: a model's files are missing.
        """
        if not self._parts.preset.lessons.enabled or not self.store.addresses():
            return ""
        return self.store.digest(self._recipes.lessons.key, self._phrases(vocabulary.categories))

    def in_force(self, competition: Competition) -> tuple[Lesson, ...]:
        """Read the lessons that speak about an asked word, sorted by address; each costs a read of its files."""
        asked = competition.vocabulary.categories[: competition.asked]
        return self.store.in_force(self._recipes.lessons.key, self._phrases(asked))

    def phrases(self, competition: Competition) -> list[tuple[str, ...]]:
        """Return the phrases of each word that competes, by which lessons know it."""
        return self._phrases(competition.vocabulary.categories)

    def _fitted(
        self,
        lessons: Sequence[Lesson],
        phrases: Sequence[tuple[str, ...]],
        competition: Competition,
        tables: Tables,
        stuff: frozenset[int],
    ) -> LessonModel | None:
        if not lessons:
            return None
        model = fit_lessons(lessons, phrases, competition, tables, stuff, self._parts)
        for name, report in model.reports.items():
            _log.info(
                "%d lessons, %s: of left-out annotated images %.3f of the cells were right without lessons and %.3f "
                "with them%s.",
                *(len(lessons), name, report.before, report.after, "" if report.used else "; so it does not use them"),
            )
        return model

    def _phrases(self, categories: Sequence[Category]) -> list[tuple[str, ...]]:
        known = self._parts.preset.generation.phrases
        return [with_phrase(category, known).phrases for category in categories]
