"""The task scorer says what an image that nobody has annotated promises to teach.

It takes the same steps as segmenting, of which it also keeps the runner-up of each pixel.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.lesson_card import LessonCard
from ovdiff.bank.lesson_store import LessonStore
from ovdiff.bank.recipe import Recipes
from ovdiff.errors import LessonError
from ovdiff.images import image_key, require_image
from ovdiff.learning.next_tasks import CLOSE, FoundWord, Rivals, TaskScore, likeness
from ovdiff.segmentation import Segmentation
from ovdiff.segmenting.image_segmenter import ImageSegmenter
from ovdiff.segmenting.matching import ScoreMaps, without_anchors
from ovdiff.vocabulary import Vocabulary, with_phrase

BACKGROUND = "background"
_RIVALS = 3
"""So many close decisions are kept of an image."""


class TaskScorer:
    """Scores tasks. Safe for several threads; the models run under their own lock."""

    def __init__(self, segmenter: ImageSegmenter, recipes: Recipes, store: LessonStore) -> None:
        """Load no model yet."""
        self._segmenter, self._recipes, self._store = segmenter, recipes, store
        self._embeddings: dict[str, NDArray[np.float32] | None] = {}

    def score(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> TaskScore | None:
        """Return what an image promises to teach. See :meth:`ovdiff.engine.Engine.task_score`."""
        require_image(image)
        cards, key = self._store.cards(), image_key(image)
        if any(card.image == key for card in cards):
            return None
        encoded, models = self._segmenter.encode(image), self._segmenter.parts.models
        with models.lock:
            match = self._segmenter.match(encoded, vocabulary)
            *_, last = self._segmenter.steps(match)
            found = self._segmenter.segmentation(match, last, vocabulary)
            rivals = _rivals(without_anchors(last.maps, match.competition.asked), vocabulary)
        counting = [card for card in cards if card.on and card.recipe == self._recipes.lessons.key]
        embedding = None if encoded.embedding is None else encoded.embedding.float().cpu().numpy()
        return TaskScore(
            words=self._words(found, vocabulary, counting),
            rivals=rivals,
            doubt=1 - found.image_score(),
            unlike=float(1 - np.clip(found.scores, 0, 1).mean()),
            seen=self._seen(embedding, counting),
            embedding=embedding,
        )

    def _words(self, found: Segmentation, vocabulary: Vocabulary, cards: Sequence[LessonCard]) -> tuple[FoundWord, ...]:
        preset = self._segmenter.parts.preset
        words = []
        for index, mask in found.found():
            category = vocabulary.categories[index]
            phrases = with_phrase(category, preset.generation.phrases).phrases
            shown = sum(_shows(card, phrases) for card in cards)
            words.append(FoundWord(category.name, float(mask.mean()), found.region_score(index, mask), shown))
        return tuple(words)

    def _seen(self, embedding: NDArray[np.float32] | None, cards: Sequence[LessonCard]) -> float:
        """Return the largest likeness of an image and of a lesson's image; 0 if there is none."""
        if embedding is None:
            return 0.0
        taught = [vector for card in cards if (vector := self._embedding(card.address)) is not None]
        return float(likeness(embedding[None], np.stack(taught)).max()) if taught else 0.0

    def _embedding(self, address: str) -> NDArray[np.float32] | None:
        if address not in self._embeddings:
            try:
                self._embeddings[address] = self._store.load(address).embedding
            except LessonError:  # It was damaged or removed meanwhile.
                return None
        return self._embeddings[address]


def _shows(card: LessonCard, phrases: tuple[str, ...]) -> bool:
    """Say whether a person found the word of these phrases in the image of a lesson."""
    return any(word.phrases == phrases and word.name in card.present for word in card.words)


def _rivals(maps: ScoreMaps, vocabulary: Vocabulary) -> tuple[Rivals, ...]:
    """Return the words between which most pixels of the working image were close, the most first."""
    if len(maps.labels) < 2:
        return ()
    best = maps.scores.topk(2, dim=0)
    close = (best.values[0] - best.values[1]) < CLOSE
    pairs = best.indices[:, close].sort(dim=0).values.cpu().numpy()
    codes, counts = np.unique(pairs[0] * len(maps.labels) + pairs[1], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_RIVALS]
    names = [BACKGROUND if label == 0 else vocabulary.names[label - 1] for label in maps.labels]
    return tuple(
        Rivals((names[code // len(names)], names[code % len(names)]), count / close.numel())
        for code, count in zip(codes[order].tolist(), counts[order].tolist(), strict=True)
    )
