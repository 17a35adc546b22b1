"""The forecast of a vocabulary: halves of support sets are tried on each other, and the figures become findings.

Cost: the features of every support image are extracted once more, clustered in halves, and every image is segmented
once. Nothing is drawn, and nothing is written but judgements of words that were never judged.

Tested through the engine by tests/ovdiff/forecasting/test_forecaster.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from torch import Tensor

from ovdiff.bank import Bank
from ovdiff.bank.judgement import Judgement
from ovdiff.bank.prototypes import PrototypeSet
from ovdiff.bank.recipe import Recipes
from ovdiff.bank.support import SupportSet
from ovdiff.building.category_builder import CategoryBuilder
from ovdiff.building.judging import judge_images
from ovdiff.errors import VocabularyError
from ovdiff.forecasting.figures import Figures, figures_of
from ovdiff.forecasting.findings import doubtful_word, not_built, other_sense, pair_findings, too_few_images
from ovdiff.forecasting.forecast import CategoryForecast, Finding, Forecast, PairForecast
from ovdiff.forecasting.held_out import HALVES, OverlaidBank, halves, make_half
from ovdiff.forecasting.looks import Look, embed_phrases, look_at
from ovdiff.presets.needs import models_of
from ovdiff.segmenting.category_kinds import CategoryKinds
from ovdiff.segmenting.image_segmenter import ImageSegmenter
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.vocabulary import Category, Vocabulary, with_phrase

Report = Callable[[str, float], None]
"""Called with a category's name and the fraction done, 0 to 1."""

_MAKING = 0.4
"""The share of the whole time that is over when the prototypes of the halves are made."""


@dataclass(frozen=True)
class Forecaster:
    """Forecasts for the vocabularies of one engine.

    Attributes:
        builder: the building half, which knows the support images.
        parts: the models of the segmenting half.
        bank: the store of prototype sets.
        recipes: the recipes of the same preset.
    """

    builder: CategoryBuilder
    parts: SegmentingParts
    bank: Bank
    recipes: Recipes

    def forecast(self, vocabulary: Vocabulary, report: Report) -> Forecast:
        """Return the forecast of a vocabulary; categories without prototypes are forecast by their names alone.

        Raises:
            VocabularyError: the vocabulary has one category alone.
            BankError: the support images of a category are not stored, or a stored file cannot be read.
            SupportError: half of a category's images gives no prototypes.
            WeightsError: a model cannot be loaded.
            DeviceMemoryError: an image does not fit into the device's memory.
        """
        words = vocabulary.categories
        if len(words) < 2:
            raise VocabularyError(
                f"A forecast compares categories with each other, and {words[0].name!r} is alone. Name at least two."
            )
        built = [index for index, category in enumerate(words) if self.builder.has(category)]
        support = {index: self.builder.support_set(words[index]) for index in built}
        split = {index: pair for index, images in support.items() if (pair := halves(images)) is not None}
        texts = self._texts(words)
        if len(split) < 2:  # One category alone is confused with nothing.
            split = {}
        tried = list(split)
        figures = figures_of(self._looks(vocabulary, split, texts, report), len(tried))
        judged = {index: self.builder.judge(words[index]) for index in built}
        pairs = _pairs(words, tried, figures, texts)
        few = {index: shown for index in built if (shown := support[index].with_foreground()) < HALVES}
        findings = [
            *not_built([category.name for index, category in enumerate(words) if index not in support]),
            *(too_few_images(words[index].name, shown) for index, shown in few.items()),
            *self._word_findings(words, support, judged),
            *pair_findings(pairs, self.parts.preset.anchors.same_cosine),
        ]
        report("done", 1.0)
        return Forecast(self._categories(vocabulary, tried, figures, judged), pairs, figures.confusion, tuple(findings))

    def _looks(
        self,
        vocabulary: Vocabulary,
        split: dict[int, tuple[SupportSet, SupportSet]],
        texts: Sequence[Tensor] | None,
        report: Report,
    ) -> list[Look]:
        """Return a look at every image of the split sets, which hold out one half after the other."""
        if not split:
            return []
        tried = Vocabulary(tuple(vocabulary.categories[index] for index in split))
        keys = [self.recipes.prototypes(category).key for category in tried.categories]
        made: list[list[PrototypeSet]] = []
        for number, (index, pair) in enumerate(split.items()):
            report(vocabulary.categories[index].name, _MAKING * number / len(split))
            made.append([make_half(self.builder.parts, half) for half in pair])
        tried_texts = None if texts is None else [texts[index] for index in split]
        looks = []
        for held_out in range(HALVES):
            others = {key: sets[1 - held_out] for key, sets in zip(keys, made, strict=True)}
            segmenter = ImageSegmenter(self.parts, OverlaidBank(self.bank, others), self.recipes)
            for place, (index, pair) in enumerate(split.items()):
                done = (held_out + place / len(split)) / HALVES
                report(vocabulary.categories[index].name, _MAKING + (1 - _MAKING) * done)
                looks += [look_at(segmenter, item, place, tried, tried_texts) for item in pair[held_out].images]
        return looks

    def _texts(self, words: Sequence[Category]) -> list[Tensor] | None:
        """Return CLIP's vectors of each category's phrases, or ``None`` if the preset segments without CLIP."""
        if "clip" not in models_of(self.parts.preset, "segmenting"):
            return None
        with self.parts.models.lock:
            return embed_phrases(self.parts, words)

    def _word_findings(
        self, words: Sequence[Category], support: dict[int, SupportSet], judged: dict[int, Judgement | None]
    ) -> list[Finding]:
        """Return the findings about single words: doubtful ones, and names that mean something else than is drawn."""
        found = []
        for index, judgement in judged.items():
            category = words[index]
            if judgement is not None and judgement.is_doubtful:
                found.append(doubtful_word(category.name, judgement))
            elif judgement is not None and (by_name := self._by_name(category, support[index])) is not None:
                found.append(other_sense(category.name, category.phrases, by_name))
        return found

    def _by_name(self, category: Category, support: SupportSet) -> Judgement | None:
        """Return the judgement by a category's name if its prompts draw something else; ``None`` if all is well.

        A name that CLIP does not know says nothing, such as "label 3": only names that are an anchor, or mean the same
        as one, are judged.
        """
        phrases = with_phrase(category, self.parts.preset.generation.phrases).phrases
        if category.name in phrases:
            return None
        parts, settings = self.builder.parts, self.parts.preset.anchors
        with parts.models.lock:
            name, said = parts.anchor_texts.phrases([category.name]), parts.anchor_texts.phrases(phrases)
            beside = parts.anchor_texts.beside([category.name])
        if not len(name) or not len(said) or float((said @ name.T).max()) > settings.same_cosine:
            return None
        if len(beside.words) == len(settings.words):  # No anchor steps aside for the name: none means the same.
            return None
        found = judge_images(parts, [item.image for item in support.images], [category.name], "")
        return found if found is not None and found.is_doubtful else None

    def _categories(
        self, vocabulary: Vocabulary, tried: Sequence[int], figures: Figures, judged: Mapping[int, Judgement | None]
    ) -> tuple[CategoryForecast, ...]:
        found = []
        for index, kind in enumerate(CategoryKinds(self.parts).of(vocabulary)):
            forecast = CategoryForecast(kind.name, kind.kind, judgement=judged.get(index))
            if index in tried:
                place = tried.index(index)
                forecast = replace(
                    forecast,
                    images=int(figures.images[place]),
                    own=float(figures.confusion[place, place + 1]),
                    expected_iou=float(figures.expected_iou[place]),
                )
            found.append(forecast)
        return tuple(found)


def _pairs(
    words: Sequence[Category], tried: Sequence[int], figures: Figures, texts: Sequence[Tensor] | None
) -> tuple[PairForecast, ...]:
    """Return every two categories, those at most risk first; ``figures`` are those of the ``tried`` ones."""
    confused, found = figures.confused(), []
    for first, second in combinations(range(len(words)), 2):
        cosine = None if texts is None else _cosine(texts[first], texts[second])
        pair = PairForecast(words[first].name, words[second].name, cosine)
        if first in tried and second in tried:
            place = tried.index(first), tried.index(second)
            pair = replace(
                pair,
                confused=float(confused[place]),
                told_apart=None if texts is None else float(figures.told_apart[place]),
                risk=None if len(tried) == 2 else float(figures.risk[place]),  # One pair has no rank.
            )
        found.append(pair)

    def order(pair: PairForecast) -> tuple[float, float]:
        risk = -1.0 if pair.risk is None else pair.risk
        return -risk, -1.0 if pair.text_cosine is None else -pair.text_cosine

    return tuple(sorted(found, key=order))


def _cosine(first: Tensor, second: Tensor) -> float | None:
    """Return the largest cosine of two sets of phrases, each (K, P); ``None`` if CLIP can read none of a set."""
    return float((first @ second.T).max()) if len(first) and len(second) else None
