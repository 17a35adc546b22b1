"""The words that compete for pixels: those of a vocabulary, and those of the background."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ovdiff.errors import VocabularyError
from ovdiff.models.texts import ClipTexts
from ovdiff.vocabulary import Vocabulary


@dataclass(frozen=True)
class Words:
    """What competes.

    Attributes:
        texts: the words.
        owners: for each word the index of its category; ``categories`` for a word of the background.
        categories: how many categories were asked for.
    """

    texts: tuple[str, ...]
    owners: tuple[int, ...]
    categories: int


def competing_words(vocabulary: Vocabulary, background: Sequence[str]) -> Words:
    """Return all phrases of a vocabulary, then the words of the background that nobody asked for."""
    asked = [(phrase, index) for index, category in enumerate(vocabulary.categories) for phrase in category.phrases]
    known = {phrase.casefold() for phrase, _ in asked} | {name.casefold() for name in vocabulary.names}
    behind = dict.fromkeys(word.strip() for word in background if word.strip().casefold() not in known)
    count = len(vocabulary.categories)
    texts, owners = zip(*asked, *((word, count) for word in behind), strict=True)
    return Words(texts, owners, count)


def word_vectors(texts: ClipTexts, words: Sequence[str], templates: Sequence[str], *, unit: bool = True) -> Tensor:
    """Return a vector (W, P) of each word: the mean over the templates, made a unit vector with ``unit``.

    Args:
        texts: embeds texts.
        words: what takes the place of ``{category}``.
        templates: texts with that place.
        unit: whether the mean becomes a unit vector.

    Raises:
        VocabularyError: a text is longer than the text encoder reads.
    """
    asked = [template.replace("{category}", word) for word in words for template in templates]
    found = []
    for text, vector in zip(asked, texts.embed(asked), strict=True):
        if vector is None:
            raise VocabularyError(f"{text!r} is longer than the text encoder reads. Give a shorter prompt.")
        found.append(vector)
    means = torch.stack(found).reshape(len(words), len(templates), -1).mean(dim=1)
    return F.normalize(means, dim=1) if unit else means
