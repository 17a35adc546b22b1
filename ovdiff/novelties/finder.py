"""Which regions of an image show none of the asked words.

::

    region       a connected region of pixels that some thing won by Eq. 4, or background
    share(word)  softmax over asked and other words of  logit_scale * cos(CLIP's view of the region, word)
    novelty      the sum of the shares of the other words

The other words are the preset's anchors; a preset without anchors takes the list `common_words`. CLIP decides, because
prototypes alone do not know what they were not made for: on drawn scenes the mean cosine of a region told left-out
things from asked ones with an area under the curve of .51 to .88, and CLIP's share of the other words with .90 to .97.
Stuff is left out: CLIP looks at boxes, and the box of a sky also shows what flies in it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from ovdiff.errors import PresetError
from ovdiff.novelties.groups import NovelRegion
from ovdiff.presets.word_lists import read_words
from ovdiff.segmenting.anchors import Competition
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.segmenting.image_segmenter import ImageSegmenter
from ovdiff.segmenting.matching import ScoreMaps
from ovdiff.segmenting.part_check import Part, embed_boxes, find_parts
from ovdiff.vocabulary import Category, Vocabulary, with_phrase

LEAST_NOVELTY = 0.5
"""A region is novel if CLIP gives the other words more than the asked ones together."""

LEAST_AREA = 0.004
"""The share of the image below which a region is a speck, in which CLIP sees little."""

_BY_PIXELS = ("votes", "PAMR")
_COMMON_WORDS = "common_words"


class NoveltyFinder:
    """Finds the regions of images that show none of the asked words. Safe for several threads."""

    def __init__(self, segmenter: ImageSegmenter) -> None:
        """Use a segmenter's models, prototypes and anchors. No model is loaded yet."""
        self._segmenter, self._parts = segmenter, segmenter.parts

    def find(self, encoded: EncodedImage, vocabulary: Vocabulary) -> tuple[NovelRegion, ...]:
        """Return the regions that show none of a vocabulary's words, the most novel first.

        Cost: the matching of the image, and a pass of CLIP for two crops a region.

        Raises:
            PresetError: the preset has no CLIP.
            MissingPrototypesError: some categories must be built first; the message names them.
            WeightsError: CLIP cannot be loaded.
        """
        if self._parts.preset.models.clip is None:
            raise PresetError("Novelties need CLIP, which the preset lacks: add a [models.clip] table with a source.")
        with self._parts.models.lock:
            match = self._segmenter.match(encoded, vocabulary, lessons=False)
            for step in self._segmenter.steps(match):
                if step.name not in _BY_PIXELS:
                    break
                maps = step.maps
            found = self._regions(maps, match.competition)
            if not found:
                return ()
            seen = embed_boxes(self._parts, encoded.working, [region.box for region in found]).numpy()
            words = self._other_words(match.competition, vocabulary)
            shares = self._shares(seen, vocabulary, words)
        asked = len(vocabulary.categories)
        scores = _asked_scores(maps, match.competition)
        novel = [
            NovelRegion(
                _box(region),
                float(region.mask.mean()),
                float(own[asked:].sum()),
                float(scores[region.mask].mean()),
                words,
                own[asked:].astype(np.float32),
                view.astype(np.float32),
                region.mask,
            )
            for region, own, view in zip(found, shares, seen, strict=True)
        ]
        kept = (region for region in novel if region.novelty > LEAST_NOVELTY)
        return tuple(sorted(kept, key=lambda region: -region.novelty))

    def _regions(self, maps: ScoreMaps, competition: Competition) -> list[Part]:
        """Return the connected regions of things, whichever they are, and those of background."""
        settings, stuff = self._parts.preset.part_check, self._segmenter.kinds.stuff(competition.vocabulary)
        best = np.asarray(maps.labels)[maps.scores.cpu().argmax(dim=0).numpy()]
        things = [label for label in maps.labels if label > 0 and label - 1 not in stuff]
        found = [*find_parts(np.isin(best, things), 0, settings), *find_parts(best == 0, 0, settings)]
        return [region for region in found if region.mask.mean() > LEAST_AREA]

    def _other_words(self, competition: Competition, vocabulary: Vocabulary) -> tuple[str, ...]:
        """Return the words that a region may show instead, without those that mean the same as an asked word."""
        anchors = (category.name for category in competition.vocabulary.categories[competition.asked :])
        words = tuple(dict.fromkeys([*anchors, *competition.texts]))
        if words:
            return words
        asked = {text.casefold() for each in vocabulary.categories for text in (each.name, *each.phrases)}
        return tuple(word for word in read_words(_COMMON_WORDS, Path()) if word.casefold() not in asked)

    def _shares(self, seen: NDArray[np.float32], vocabulary: Vocabulary, words: Sequence[str]) -> NDArray[np.float64]:
        """Return CLIP's share (regions, asked words and other words) of each word in each region."""
        preset = self._parts.preset
        everything = [*vocabulary.categories, *(Category(word) for word in words)]
        cosines = [self._nearest(seen, with_phrase(each, preset.generation.phrases).phrases) for each in everything]
        shares: NDArray[np.float64] = softmax(preset.part_check.logit_scale * np.stack(cosines, axis=1), axis=1)
        return shares

    def _nearest(self, seen: NDArray[np.float32], phrases: Sequence[str]) -> NDArray[np.float64]:
        """Return the cosine (regions,) of each region with the phrase that is nearest to it; -1 if none can be read."""
        template = self._parts.preset.prefilter.template
        vectors = self._parts.texts.embed([template.replace("{category}", phrase) for phrase in phrases])
        readable = [vector.float().cpu().numpy() for vector in vectors if vector is not None]
        if not readable:
            return np.full(len(seen), -1.0)
        nearest: NDArray[np.float64] = (seen @ np.stack(readable).T).max(axis=1).astype(np.float64)
        return nearest


def _asked_scores(maps: ScoreMaps, competition: Competition) -> NDArray[np.float32]:
    """Return the best score (h, w) of background and the asked words."""
    rows = [row for row, label in enumerate(maps.labels) if label <= competition.asked]
    best: NDArray[np.float32] = maps.scores[rows].amax(dim=0).cpu().numpy()
    return best


def _box(region: Part) -> tuple[float, float, float, float]:
    height, width = region.mask.shape
    top, bottom, left, right = region.box
    return left / width, top / height, right / width, bottom / height
