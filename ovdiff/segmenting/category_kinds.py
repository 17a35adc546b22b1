"""The kinds of categories, thing or stuff (A.9). Each is decided once and then kept.

Tested through the engine by tests/ovdiff/engine/test_engine.py.
"""

import logging
from collections.abc import Sequence
from functools import cached_property

from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.vocabulary import Category, Vocabulary, with_phrase
from ovdiff.vocabulary.kinds import KindDecision, NearestKinds, known_kind

_log = logging.getLogger(__name__)


class CategoryKinds:
    """Decides the kinds of categories and keeps the decisions. CLIP is used only for names that no table knows."""

    def __init__(self, parts: SegmentingParts) -> None:
        """Load no model, and make no decision yet."""
        self._parts = parts
        self._decided: dict[Category, KindDecision] = {}

    def of(self, vocabulary: Vocabulary) -> tuple[KindDecision, ...]:
        """Return the decision for each category, in the vocabulary's order.

        Raises:
            WeightsError: CLIP cannot be loaded.
        """
        if unknown := [category for category in vocabulary.categories if category not in self._decided]:
            with self._parts.models.lock:
                self._decided |= self._decide(unknown)
        return tuple(self._decided[category] for category in vocabulary.categories)

    def so_far(self, category: Category) -> KindDecision | None:
        """Return the decision for a category, or ``None`` if a model must still make it. Never waits for the models."""
        return self._decided.get(category) or known_kind(category, self._parts.preset.stuff_filter)

    def stuff(self, vocabulary: Vocabulary) -> frozenset[int]:
        """Return the indices of the categories that are stuff.

        Raises:
            WeightsError: CLIP cannot be loaded.
        """
        return frozenset(index for index, found in enumerate(self.of(vocabulary)) if found.kind == "stuff")

    def _decide(self, categories: Sequence[Category]) -> dict[Category, KindDecision]:
        preset = self._parts.preset
        known = {category: known_kind(category, preset.stuff_filter) for category in categories}
        unknown = [category for category, decision in known.items() if decision is None]
        phrased = [with_phrase(category, preset.generation.phrases) for category in unknown]
        asked = dict(zip(unknown, self._nearest.decide(phrased) if unknown else (), strict=True))
        found = {category: decision or asked[category] for category, decision in known.items()}
        _log.info("%s", "; ".join(map(str, found.values())))
        return found

    @cached_property
    def _nearest(self) -> NearestKinds:
        preset = self._parts.preset
        return NearestKinds(self._parts.texts, preset.prefilter.template, preset.stuff_filter)
