"""The nouns of captions by a small rule, and the words that a step draws of them (C.2).

The rule: a caption is cut at punctuation, at words that are no nouns (articles, prepositions, pronouns, common verbs)
and at words on -ing and -ed; of what is left adjectives and words on -ly are dropped, and the last word becomes
singular. "A man riding two brown horses near the old fire hydrants." has the nouns man, horse and fire hydrant.

Why a rule of our own: taggers (NLTK, spaCy) fetch their data when they are first used, and a training must work
offline. A noun too many costs a step little; the words of a caption are drawn at random.
"""

import re
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ovdiff.odise.naming import Label, LabelTexts
from ovdiff.odise.training.grounding import true_of_others
from ovdiff.odise.training.trainer import CaptionWords, DrawWords

_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*|[^\w\s]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NO_NOUNS = _words(
    """a an the this that these those some any each every no all both several many few much more most other another such
    one two three four five six seven eight nine ten dozen lots lot couple bunch group pair
    and or but nor so yet as if while than then when where which who whom whose what why how
    of in on at by for with from to into onto over under above below behind before after between among around across
    along against near beside besides next through during without within upon off out up down inside outside toward
    towards via about like past front back top bottom side left right middle
    i you he she it we they me him her us them his hers its our their my your there here
    is are was were be been being am has have had do does did can could will would may might must shall should
    sit sits sat stand stands stood lie lies lay hold holds held wear wears ride rides rode walk walks run runs ran fly
    flies flew look looks show shows shown eat eats ate drink drinks play plays make makes made take takes get gets
    go goes hang hangs grow grows very too also just only not together away alone image picture photo photograph view
    scene background foreground kind type sort piece part"""
)
_ADJECTIVES = _words(
    """big small large little tiny huge tall short long wide narrow thin thick old young new modern ancient empty full
    open closed red orange yellow green blue purple violet pink brown black white grey gray golden silver dark light
    bright pale colorful colourful clear cloudy sunny rainy snowy sandy grassy rocky dirty clean wet dry hot cold
    wooden metal metallic beautiful pretty nice good bad busy crowded different various same own high low round square
    first second third last main single double"""
)
_NOUNS_ON_ING = _words("building ceiling wedding clothing painting railing string ring king wing spring")
_NOUNS_ON_ED = _words("bed shed weed seed sled reed breed moped")
_NOUNS_ON_LY = _words("fly butterfly lily family belly jelly")
_PLURALS = {
    **{"men": "man", "women": "woman", "people": "person", "children": "child", "feet": "foot", "teeth": "tooth"},
    **{"mice": "mouse", "geese": "goose", "leaves": "leaf", "knives": "knife", "shelves": "shelf", "buses": "bus"},
}
_ALIKE = _words("glasses scissors pants jeans shorts trousers grass glass dress bus gas lens tennis")


def nouns(caption: str) -> tuple[str, ...]:
    """Return the nouns of a caption, each once, in their order; compounds stay together."""
    words = _WORD.findall(caption.casefold())
    found = []
    for ends, group in groupby(words, _cuts):
        if ends:
            continue
        phrase = [word for word in group if word not in _ADJECTIVES and not _is_adverb(word)]
        if phrase:
            found.append(" ".join([*phrase[:-1], singular(phrase[-1])]))
    return tuple(dict.fromkeys(found))


def singular(word: str) -> str:
    """Return an English noun in the singular, by its ending."""
    if word in _PLURALS or word in _ALIKE:
        return _PLURALS.get(word, word)
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("ches", "ch"), ("shes", "sh"), ("xes", "x")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word.removesuffix(ending) + instead
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word.removesuffix("s")
    return word


LabelTextsOf = Callable[[list[Label], tuple[str, ...]], LabelTexts]
"""Embeds labels in templates, as :meth:`ovdiff.odise.parts.OdiseParts.label_texts` does."""


class EmbedsWords:
    """Embeds words by CLIP, each once, in the templates of the names."""

    def __init__(self, label_texts: LabelTextsOf, templates: tuple[str, ...], channels: int) -> None:
        """Use :meth:`ovdiff.odise.parts.OdiseParts.label_texts`; ``channels`` is the length of its vectors."""
        self.channels = channels
        self._label_texts, self._templates = label_texts, templates
        self._known: dict[str, Tensor] = {}

    def __call__(self, words: Sequence[str]) -> dict[str, Tensor]:
        """Return the unit vector (P,) of each word.

        Raises:
            VocabularyError: a word is longer than the text encoder reads.
        """
        if missing := [word for word in words if word not in self._known]:
            found = self._label_texts([Label(word, (word,), False) for word in missing], self._templates)
            self._known |= dict(zip(missing, found.embeddings.cpu(), strict=True))
        return {word: self._known[word] for word in words}


def word_drawer(
    texts: EmbedsWords, count: int, true_captions: Literal["ignore", "negative"], device: torch.device
) -> DrawWords:
    """Return what draws, for each view of a step, a caption and ``count`` of its nouns, with replacement (C.2).

    With "ignore", a caption of which all drawn nouns are among the nouns of another image's captions is no negative of
    that image; with "negative" it is. A view whose caption has no noun is no part of the loss.

    Args:
        texts: embeds words.
        count: K, the words of a caption.
        true_captions: see :class:`ovdiff.odise.preset.LossSettings`.
        device: where the embeddings are needed.
    """

    def draw(captions: Sequence[Sequence[str]], rng: np.random.Generator) -> CaptionWords:
        heard = [[nouns(caption) for caption in of_view] for of_view in captions]
        said = [_drawn([each for each in of_view if each], count, rng) for of_view in heard]
        vectors = texts(sorted({word for words in said for word in words}))
        blank = torch.zeros(texts.channels)
        rows = [torch.stack([vectors[word] if word else blank for word in words or [""] * count]) for words in said]
        silent = torch.tensor([not words for words in said])
        excused = silent[:, None] | silent[None]
        if true_captions == "ignore":
            known = [frozenset(word for words in of_view for word in words) for of_view in heard]
            excused = excused | true_of_others([frozenset(words) for words in said], known)
        return CaptionWords(torch.stack(rows).to(device), excused.to(device))

    return draw


def _drawn(captions: list[tuple[str, ...]], count: int, rng: np.random.Generator) -> list[str]:
    """Return ``count`` nouns of one of the captions, drawn with replacement; none if there are no captions."""
    if not captions:
        return []
    chosen = captions[rng.integers(len(captions))]
    return [chosen[index] for index in rng.integers(len(chosen), size=count)]


def _cuts(word: str) -> bool:
    if word in _NO_NOUNS or not word[0].isalpha():
        return True
    is_verb = (word.endswith("ing") and word not in _NOUNS_ON_ING) or (word.endswith("ed") and word not in _NOUNS_ON_ED)
    return is_verb and word not in _ADJECTIVES and len(word) > 3


def _is_adverb(word: str) -> bool:
    return word.endswith("ly") and word not in _NOUNS_ON_LY
