"""Anchors: words that nobody asked for and that may win, so that nothing is painted where none of the asked words is.

A vocabulary of one word paints that word wherever background prototypes are not nearer. With anchors, other words take
these pixels and then become background. Neither the paper nor the released code has them.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ovdiff.bank import Bank
from ovdiff.bank.recipe import Recipes
from ovdiff.presets.needs import models_of
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.vocabulary import Category, Vocabulary, with_phrase

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Competition:
    """The words that compete for the pixels of an image.

    Attributes:
        vocabulary: the asked categories, in their order, and after them the anchors that have prototypes.
        asked: how many of these were asked for.
        texts: the phrases of anchors that only CLIP compares with parts of the image.
        aside: the anchors that stepped aside, each with the asked name that means the same.
    """

    vocabulary: Vocabulary
    asked: int
    texts: tuple[str, ...] = ()
    aside: tuple[tuple[str, str], ...] = ()


class Anchors:
    """Chooses the anchors of a vocabulary. Not thread-safe: use it inside ``with models.lock``."""

    def __init__(self, parts: SegmentingParts, bank: Bank, recipes: Recipes) -> None:
        """Load no model yet."""
        self._parts, self._bank, self._recipes = parts, bank, recipes
        self._settings, self._colours = parts.preset.anchors, parts.preset.part_check.colours
        self._aside: dict[Vocabulary, tuple[tuple[str, str], ...]] = {}
        self._said: set[tuple[str, str]] = set()

    def categories(self) -> tuple[Category, ...]:
        """Return the anchors that compete for pixels as soon as the prototype sets of all of them are built."""
        return tuple(Category(word) for word in self._settings.prototypes)

    def missing(self) -> tuple[Category, ...]:
        """Return those of them whose prototype sets the bank does not hold."""
        return tuple(anchor for anchor in self.categories() if not self._built(anchor))

    def ready(self) -> bool:
        """Say whether anchors compete for pixels: they do as soon as all of them are built.

        If each competed as soon as it was built, a project's masks would depend on which words other projects use.
        """
        return bool(self._settings.prototypes) and not self.missing()

    def of(self, vocabulary: Vocabulary) -> Competition:
        """Return the asked categories with the anchors that may win beside them.

        An anchor steps aside if an asked phrase holds all its words ("ball" for "red ball"), or if CLIP's cosine of the
        two texts is above ``anchors.same_cosine``.

        Raises:
            WeightsError: CLIP, which compares the texts, cannot be loaded.
        """
        settings, colours = self._settings, self._other_colours(vocabulary)
        if not (settings.words or settings.prototypes or colours):
            return Competition(vocabulary, len(vocabulary.categories))
        aside = dict(self.aside(vocabulary))
        rivals = [anchor for anchor in self.categories() if anchor.name not in aside] if self.ready() else []
        competing = {anchor.name for anchor in rivals}
        texts = [word for word in settings.words if word not in aside and word not in competing]
        texts += colours
        everything = Vocabulary((*vocabulary.categories, *rivals)) if rivals else vocabulary
        return Competition(everything, len(vocabulary.categories), tuple(dict.fromkeys(texts)), tuple(aside.items()))

    def aside(self, vocabulary: Vocabulary) -> tuple[tuple[str, str], ...]:
        """Return the anchors that step aside for a vocabulary, each with the asked name that means the same.

        Raises:
            WeightsError: CLIP, which compares the texts, cannot be loaded.
        """
        if vocabulary not in self._aside:
            found = tuple(self._step_aside(vocabulary))
            self._say([pair for pair in found if pair not in self._said])
            self._aside = {**dict(list(self._aside.items())[-63:]), vocabulary: found}
        return self._aside[vocabulary]

    def _say(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Log pairs once: a vocabulary that has one word more is no news of the other words."""
        if pairs:
            _log.info("Anchors that mean the same as an asked word step aside: %s.", describe(pairs))
        self._said.update(pairs)

    def _step_aside(self, vocabulary: Vocabulary) -> Iterable[tuple[str, str]]:
        words = list(dict.fromkeys([*self._settings.prototypes, *self._settings.words]))
        phrases = [(category.name, phrase) for category, phrase in self._phrased(vocabulary)]
        held = {word: name for word in words for name, text in phrases if _holds(text, word) or _holds(name, word)}
        rest = [word for word in words if word not in held]
        if rest and "clip" in models_of(self._parts.preset, "segmenting"):
            held |= self._same_by_clip(rest, phrases)
        return [(word, held[word]) for word in words if word in held]

    def _same_by_clip(self, words: Sequence[str], phrases: Sequence[tuple[str, str]]) -> dict[str, str]:
        template = self._parts.preset.prefilter.template
        texts = [template.replace("{category}", text) for text in (*words, *(phrase for _, phrase in phrases))]
        vectors = self._parts.texts.embed(texts)
        same = {}
        for word, vector in zip(words, vectors, strict=False):
            for (name, _), other in zip(phrases, vectors[len(words) :], strict=True):
                if vector is not None and other is not None and float(vector @ other) > self._settings.same_cosine:
                    same[word] = name
        return same

    def _built(self, anchor: Category) -> bool:
        return self._bank.has(self._recipes.prototypes(anchor).key)

    def _other_colours(self, vocabulary: Vocabulary) -> list[str]:
        if not self._parts.preset.part_check.enabled:
            return []
        return other_colours([phrase for _, phrase in self._phrased(vocabulary)], self._colours)

    def _phrased(self, vocabulary: Vocabulary) -> list[tuple[Category, str]]:
        known = self._parts.preset.generation.phrases
        return [(category, text) for category in vocabulary.categories for text in with_phrase(category, known).phrases]


def other_colours(phrases: Sequence[str], colours: Sequence[str]) -> list[str]:
    """Return each phrase that has a colour word with every other colour in its place, without the phrases themselves.

    So "red ball" gives "orange ball", "yellow ball" and so on: a ball of another colour is none of the asked words.
    """
    known = {colour.casefold() for colour in colours}
    found: dict[str, None] = {}
    for phrase in phrases:
        words = phrase.split()
        for place, word in enumerate(words[:-1]):  # The last word is the noun: an "orange" is a fruit.
            if word.casefold() in known:
                found |= {" ".join([*words[:place], colour, *words[place + 1 :]]): None for colour in colours}
    asked = {phrase.casefold() for phrase in phrases}
    return [phrase for phrase in found if phrase.casefold() not in asked]


def describe(aside: Iterable[tuple[str, str]]) -> str:
    """Return a sentence part such as ``'ocean' for 'sea', 'auto' for 'car'``."""
    return ", ".join(f"{anchor!r} for {name!r}" for anchor, name in aside)


def _holds(phrase: str, word: str) -> bool:
    """Say whether a phrase holds all words of another, without regard to case."""
    return set(word.casefold().split()) <= set(phrase.casefold().split())
