"""The prototypes of a vocabulary, stacked into one table for each extractor. Tables of recent vocabularies are kept.

Tested through the engine by tests/ovdiff/engine/test_engine.py.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence

from ovdiff.bank import Bank
from ovdiff.bank.prototypes import FeatureSpacePrototypes
from ovdiff.bank.recipe import Recipes
from ovdiff.errors import MissingPrototypesError
from ovdiff.presets.needs import feature_settings
from ovdiff.segmenting.category_kinds import CategoryKinds
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.segmenting.segmenter import PrototypeTable, make_table
from ovdiff.vocabulary import Vocabulary

_MOST_BYTES = 1 << 30  # A vocabulary of 171 categories takes 0.7 GB in the paper's feature spaces.

Tables = dict[str, PrototypeTable]
"""The table of each extractor, by the extractor's name."""


class VocabularyTables:
    """Makes the tables of vocabularies and keeps recent ones. Not thread-safe: use it inside ``with models.lock``."""

    def __init__(self, parts: SegmentingParts, bank: Bank, recipes: Recipes, kinds: CategoryKinds) -> None:
        """Read no prototypes yet."""
        self._parts, self._bank, self._recipes, self._kinds = parts, bank, recipes, kinds
        self._recent: OrderedDict[tuple[str, ...], Tables] = OrderedDict()

    def of(self, vocabulary: Vocabulary) -> Tables:
        """Return a vocabulary's tables.

        Raises:
            MissingPrototypesError: some categories must be built first; the message names them.
            BankCorruptError: a stored set is damaged.
            WeightsError: CLIP, which decides the kinds of unknown names, cannot be loaded.
        """
        keys = tuple(self._recipes.prototypes(category).key for category in vocabulary.categories)
        known = (vocabulary.fingerprint(), *keys)
        if known not in self._recent:
            self._recent[known] = self._make(vocabulary, keys)
        self._recent.move_to_end(known)
        while len(self._recent) > 1 and sum(map(_size_bytes, self._recent.values())) > _MOST_BYTES:
            self._recent.popitem(last=False)
        return self._recent[known]

    def require(self, vocabulary: Vocabulary) -> None:
        """Check that the bank has every category's prototypes.

        Raises:
            MissingPrototypesError: some categories must be built first; the message names them.
        """
        pairs = ((category, self._recipes.prototypes(category).key) for category in vocabulary.categories)
        if missing := [category.name for category, key in pairs if not self._bank.has(key)]:
            raise MissingPrototypesError(missing)

    def _make(self, vocabulary: Vocabulary, keys: Sequence[str]) -> Tables:
        self.require(vocabulary)
        sets, stuff = [self._bank.load(key) for key in keys], self._kinds.stuff(vocabulary)
        return {
            name: self._make_one(name, [prototypes.spaces[name] for prototypes in sets], stuff)
            for name in self._parts.preset.active_extractors()
        }

    def _make_one(self, name: str, sets: Sequence[FeatureSpacePrototypes], stuff: Collection[int]) -> PrototypeTable:
        preset = self._parts.preset
        background = preset.matching.background == "prototypes"
        table = make_table(sets, stuff, kinds=preset.matching.kinds, background=background)
        if not preset.stuff_filter.enabled:
            return table
        similarity = feature_settings(preset, name).stuff_similarity
        return table.without_stuff_in_background(stuff, similarity, self._parts.models.device)


def _size_bytes(tables: Tables) -> int:
    return sum(table.vectors.nbytes for table in tables.values())
