"""A category's support images are drawn in batches that fit into memory. Unsafe images are drawn anew.

Finished batches are stored, and a later run draws only the missing images. The numbers of a phrase are cut into batches
in order, so an image of the later run is in the same batch as in an unbroken run, and matrix products round the same.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.support_store import DrawnBatch, DrawnImage, Shelf
from ovdiff.building.generation.diffusion import DrawingBatch, Generated, image_seed, share_out
from ovdiff.building.generation.tokens import fill
from ovdiff.building.parts import BuildingParts
from ovdiff.errors import SupportError
from ovdiff.models.memory import Work, batch_size, run_in_batches
from ovdiff.presets import Preset

Draw = Callable[[DrawingBatch], tuple[Generated, NDArray[np.bool_]]]
"""Samples a batch, and says which of its images are unsafe: (B,) bool."""


def draw_images(
    parts: BuildingParts, phrases: Sequence[str], shelf: Shelf | None, on_progress: Callable[[float], None]
) -> tuple[DrawnBatch, ...]:
    """Draw the images that the shelf does not have, store each finished batch there, and return all batches.

    Args:
        parts: the models; their lock is held while a batch is sampled, so that predictions get their turn.
        phrases: they share the images evenly.
        shelf: where batches are kept; ``None`` keeps none.
        on_progress: called with the fraction done, which never falls.

    Raises:
        VocabularyError: a phrase does not fit into the prompt, or there are more phrases than images.
        DeviceMemoryError: not even one image can be sampled.
        SupportError: every image was refused as unsafe.
        BankError: a batch cannot be stored.
    """
    shares = share_out(phrases, parts.preset.generation.images)
    run = _Run(parts, shelf, on_progress)
    for phrase, numbers in shares.items():
        run.draw_missing(phrase, numbers)
    if not any(batch.images for batch in run.batches):
        raise SupportError(
            f"Every image generated for {' / '.join(map(repr, phrases))} was refused as unsafe, "
            f"{sum(batch.refused for batch in run.batches)} in all. Describe the category by another prompt; "
            f"if the check is wrong, raise the preset's safety.margin or choose another safety.check."
        )
    return tuple(run.batches)


def draw_safely(draw: Draw, batch: DrawingBatch, preset: Preset) -> DrawnBatch:
    """Sample a batch, and draw its refused images anew with their next seeds, up to ``safety.max_redraws`` times.

    An image whose every drawing is refused is left out. Refused drawings are counted and not kept.
    """
    seed, prompt = preset.generation.seed, fill(preset.generation.prompt_template, batch.phrase)
    images: list[DrawnImage] = []
    pending, refused = batch, 0
    while pending.numbers and pending.attempt <= preset.safety.max_redraws:
        generated, unsafe = draw(pending)
        attempt = pending.attempt
        for number, image, attribution, is_unsafe in zip(
            pending.numbers, generated.images, generated.maps, unsafe, strict=True
        ):
            if not is_unsafe:
                images.append(DrawnImage(number, image_seed(seed, number, attempt), attempt, image, attribution))
        refused += int(unsafe.sum())
        again = tuple(number for number, bad in zip(pending.numbers, unsafe, strict=True) if bad)
        pending = DrawingBatch(batch.phrase, again, attempt + 1)
    return DrawnBatch(prompt, tuple(sorted(images, key=lambda item: item.number)), pending.numbers, refused)


class _Run:
    """The drawing of one category: knows the finished batches, draws the missing images, and reports progress."""

    def __init__(self, parts: BuildingParts, shelf: Shelf | None, on_progress: Callable[[float], None]) -> None:
        self._parts, self._shelf, self._on_progress = parts, shelf, on_progress
        self.batches = list(shelf.batches()) if shelf is not None else []
        self._told = 0.0

    def draw_missing(self, phrase: str, numbers: Sequence[int]) -> None:
        done = self._done()
        missing = [number for number in numbers if number not in done]
        if missing:
            work = _sampling(self._parts.preset)
            with self._parts.models.lock:
                # All weights are loaded first: the batch is given the memory that they leave.
                _ = self._parts.generator, self._parts.safety
                size = batch_size(self._parts.models.device, work)
            run_in_batches(missing, size, lambda part: self._draw_and_keep(phrase, part), work.name)

    def _draw_and_keep(self, phrase: str, numbers: Sequence[int]) -> None:
        batch = draw_safely(self._draw, DrawingBatch(phrase, tuple(numbers)), self._parts.preset)
        if self._shelf is not None:
            self._shelf.keep(batch)
        self.batches.append(batch)

    def _draw(self, batch: DrawingBatch) -> tuple[Generated, NDArray[np.bool_]]:
        steps, settled = 0, len(self._done())

        def on_step() -> None:
            nonlocal steps
            steps += 1
            self._tell(settled + len(batch.numbers) * steps / self._parts.preset.generation.steps)

        with self._parts.models.lock:
            generated = self._parts.generator.generate(batch, on_step)
            check = self._parts.safety
            unsafe = np.zeros(len(batch.numbers), dtype=bool) if check is None else check.refused(generated.images)
        return generated, unsafe

    def _done(self) -> frozenset[int]:
        return frozenset().union(*(batch.numbers for batch in self.batches))

    def _tell(self, images: float) -> None:
        """Report the drawn images as a fraction of all. The fraction never falls, even if images are drawn anew."""
        self._told = max(self._told, images / self._parts.preset.generation.images)
        self._on_progress(self._told)


def _sampling(preset: Preset) -> Work:
    generation = preset.generation
    name = "sampling a support image"
    return Work(name, generation.batch_size, generation.mib_per_image, preset.memory.build_gib)
