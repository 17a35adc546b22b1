"""A generator of support images that is quick, and remembers what it was asked for."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ovdiff.building.generation.diffusion import DrawingBatch, Generated
from ovdiff.errors import VocabularyError


class FakeGenerator:
    """Draws at once. An image's pixels say its number, its attempt, and with how many others it was sampled."""

    def __init__(self, room: int = 99) -> None:
        self.asked: list[DrawingBatch] = []
        self.together: list[list[tuple[str, tuple[int, ...]]]] = []
        self.room = room

    def generate(self, batch: DrawingBatch, on_step: Callable[[], None]) -> Generated:
        self.asked.append(batch)
        return self._sampled([batch], on_step)[0]

    def generate_together(self, batches: Sequence[DrawingBatch], on_step: Callable[[], None]) -> list[Generated]:
        self.together.append([(batch.phrase, batch.numbers) for batch in batches])
        return self._sampled(batches, on_step)

    def span(self, phrase: str) -> slice:
        if len(phrase) > 20:
            raise VocabularyError("too long")
        return slice(6, 7)

    def _sampled(self, batches: Sequence[DrawingBatch], on_step: Callable[[], None]) -> list[Generated]:
        company = sum(len(batch.numbers) for batch in batches)
        on_step()
        if company > self.room:
            raise torch.OutOfMemoryError("no room")
        on_step()
        found = []
        for batch in batches:
            images = np.zeros((len(batch.numbers), 8, 8, 3), np.uint8)
            images[:] = [[[[number, batch.attempt, company]]] for number in batch.numbers]
            found.append(Generated(images, images[:, :2, :2, 0].astype(np.float32)))
        return found
