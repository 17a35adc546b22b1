"""The anchors of a preset as CLIP reads them: words that compete with a category's own words."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from ovdiff.models.texts import ClipTexts
from ovdiff.presets.segmenting_settings import AnchorSettings


class Anchors(NamedTuple):
    """Some anchors: A words, and their unit vectors (A, P) float32."""

    words: tuple[str, ...]
    vectors: Tensor


class AnchorTexts:
    """Embeds the anchors once. Each use must be inside the lock of the models."""

    def __init__(self, texts: ClipTexts, settings: AnchorSettings, template: str) -> None:
        """Embed no text yet.

        Args:
            texts: CLIP's text encoder.
            settings: the words, and how near to a category's text an anchor's text may be.
            template: a caption with ``{category}`` in place of the word.
        """
        self._texts, self._settings, self._template = texts, settings, template

    def phrases(self, phrases: Sequence[str]) -> Tensor:
        """Return unit vectors (K, P) of a category's phrases; a phrase longer than the encoder reads is left out."""
        return _stacked([vector for vector in self._embed(phrases) if vector is not None])

    def beside(self, phrases: Sequence[str]) -> Anchors:
        """Return the anchors that mean something else than all of a category's phrases.

        An anchor of the same text steps aside, without regard to case, and one whose vector is nearer to a phrase's
        than ``same_cosine``.
        """
        words, vectors = self._all
        own, said = self.phrases(phrases), {phrase.strip().casefold() for phrase in phrases}
        nearest = (vectors @ own.T).amax(dim=1).tolist() if len(own) and len(words) else [-1.0] * len(words)
        kept = [
            index
            for index, (word, cosine) in enumerate(zip(words, nearest, strict=True))
            if word.casefold() not in said and cosine <= self._settings.same_cosine
        ]
        return Anchors(tuple(words[index] for index in kept), vectors[kept])

    @cached_property
    def _all(self) -> Anchors:
        pairs = zip(self._settings.words, self._embed(self._settings.words), strict=True)
        found = [(word, vector) for word, vector in pairs if vector is not None]
        return Anchors(tuple(word for word, _ in found), _stacked([vector for _, vector in found]))

    def _embed(self, words: Sequence[str]) -> list[Tensor | None]:
        return self._texts.embed([self._template.replace("{category}", word) for word in words])


def _stacked(vectors: list[Tensor]) -> Tensor:
    return torch.stack(vectors) if vectors else torch.empty(0, 0)
