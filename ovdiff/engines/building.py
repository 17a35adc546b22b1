"""What some engines can do with categories, before there is an image to segment.

tests/ovdiff/engines/test_capabilities.py tells which engines can do what.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from ovdiff.bank.judgement import Judgement
from ovdiff.bank.support import SupportSet
from ovdiff.engines.contract import Progress
from ovdiff.forecasting.forecast import Forecast
from ovdiff.vocabulary import Category, Vocabulary
from ovdiff.vocabulary.kinds import KindDecision


@runtime_checkable
class DrawsAhead(Protocol):
    """An engine that does the first and longest part of preparing several categories at once, as a GPU wants it."""

    @property
    def categories_together(self) -> int:
        """How many categories to give at once: 1 where that brings nothing."""
        ...

    def draw_ahead(self, categories: Sequence[Category], report: Callable[[Category, str, float], None]) -> None:
        """Do that part for the categories that lack it; `Builder.build` finds it, and says what is wrong with the rest.

        Args:
            categories: what will be built next.
            report: called with a category, the name of a stage and the fraction done; may raise to end it all.

        Raises:
            OVDiffError: nothing can be prepared, because a model is missing, or the bank is not writable.
        """
        ...


@runtime_checkable
class SharesBuilding(Protocol):
    """An engine that builds a category once, though several of its kind on one bank are asked for it."""

    def being_built(self, category: Category) -> str | None:
        """Return who builds a category just now, here or on another machine, or ``None``; loads no model.

        Raises:
            OVDiffError: a model's files are missing, or the bank cannot be asked.
        """
        ...


@runtime_checkable
class HasSupportSets(Protocol):
    """An engine that draws support images of a category and keeps them."""

    def support_set(self, category: Category) -> SupportSet:
        """Return the support images of a category with their masks; loads no model.

        Raises:
            BankError: some of them are not stored; the message says what to do.
        """
        ...


@runtime_checkable
class JudgesWords(Protocol):
    """An engine that can say whether its generator knows a word."""

    def judgement(self, category: Category) -> Judgement | None:
        """Return the stored judgement of a category, or ``None`` if it was not judged; loads no model.

        Raises:
            OVDiffError: a model's files are missing, or what is stored cannot be read.
        """
        ...

    def judge(self, category: Category) -> Judgement | None:
        """Judge a prepared category, unless it was judged before; ``None`` if it cannot be judged. Nothing is drawn.

        Raises:
            OVDiffError: a model cannot be loaded, or the judgement cannot be stored.
        """
        ...


@runtime_checkable
class HasKinds(Protocol):
    """An engine that treats things and stuff differently, and can say whether a category is a thing or stuff."""

    def kind_so_far(self, category: Category) -> KindDecision | None:
        """Return whether a category is a thing or stuff, and why; ``None`` if only a model can decide."""
        ...


@runtime_checkable
class HasAnchors(Protocol):
    """An engine in which words that nobody asked for compete with those of a vocabulary, and are never drawn."""

    def anchors(self) -> tuple[Category, ...]:
        """Return the words that compete for pixels; they do as soon as prototypes of all of them are made."""
        ...

    def fingerprint_without_anchors(self) -> str:
        """Return the fingerprint that the engine has while prototypes of some anchors are missing."""
        ...

    def anchors_aside(self, vocabulary: Vocabulary) -> tuple[tuple[str, str], ...]:
        """Return the anchors that step aside for a vocabulary, each with the asked name that means the same.

        Raises:
            OVDiffError: a model that this needs cannot be loaded.
        """
        ...


@runtime_checkable
class Forecasts(Protocol):
    """An engine that can say what a vocabulary will be good for before anybody labels."""

    def forecast(self, vocabulary: Vocabulary, report: Progress | None = None) -> Forecast:
        """Return which categories will be confused, which words are doubtful, and an expected IoU of each category.

        Raises:
            VocabularyError: the vocabulary has one category alone.
            OVDiffError: a model cannot be loaded, or what a forecast needs is not stored.
        """
        ...
