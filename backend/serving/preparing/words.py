"""Sets that nobody judged are judged in the background, and what was judged is told: does the generator know the word?

The engine judges what it builds. Sets that were built before there were judgements, or judged with other anchors, are
judged by the worker of `backend.serving.preparing.precompute` when it has nothing to build; nothing is drawn anew. What
/status says of a category's kind is told here, too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ovdiff.bank.judgement import ADVICE, Judgement, word_state
from ovdiff.engines.building import HasKinds, JudgesWords
from ovdiff.errors import OVDiffError
from ovdiff.vocabulary import Category

logger = logging.getLogger(__name__)


class Words:
    """The words that are still to be judged. The caller's lock guards `want` and `next`; `judge` needs none."""

    def __init__(self, engine: object) -> None:
        """Use an engine; of one that judges no words, none is ever to be judged."""
        self._engine = engine if isinstance(engine, JudgesWords) else None
        self._waiting: dict[Category, None] = {}

    def want(self, categories: Iterable[Category]) -> None:
        """Note that these words are to be judged, unless they were judged before."""
        if self._engine is not None:
            self._waiting |= dict.fromkeys(categories)

    def next(self) -> Category | None:
        """Return the next word, which is then no longer waiting; None if there is none."""
        if not self._waiting:
            return None
        category = next(iter(self._waiting))
        del self._waiting[category]
        return category

    def judge(self, category: Category) -> None:
        """Judge a word, unless it was judged before. An error is logged, because the worker must go on."""
        if self._engine is None:
            return
        try:
            self._engine.judge(category)
        except (OVDiffError, OSError) as error:
            logger.warning("The word %r is not judged: %s", category.name, error)
        except Exception:  # An engine may come from another package; the worker must outlive its mistakes.
            logger.exception("Judging the word %r failed unexpectedly.", category.name)


def word_fields(engine: object, category: Category) -> dict[str, str | float | None]:
    """Return what /status says of a category's word: its state, the share that agrees, and what to try if doubtful."""
    found = _judgement(engine, category)
    return {
        "word": word_state(found),
        "agreement": None if found is None else found.share,
        "advice": f"{found}. {ADVICE}." if found is not None and found.is_doubtful else "",
    }


def kind_fields(engine: object, category: Category) -> dict[str, str | None]:
    """Return whether a category is a thing or stuff, and who decided; both are None until a model has decided."""
    decision = engine.kind_so_far(category) if isinstance(engine, HasKinds) else None
    if decision is None:
        return {"kind": None, "kind_decided_by": None}
    return {"kind": decision.kind, "kind_decided_by": decision.reason}


def _judgement(engine: object, category: Category) -> Judgement | None:
    """Return the stored judgement. Where it cannot be read, the category's own status says why."""
    if not isinstance(engine, JudgesWords):
        return None
    try:
        return engine.judgement(category)
    except (OVDiffError, OSError):
        return None
