"""A category's support images are drawn in batches that fit into memory. Unsafe images are drawn anew.

Finished batches are stored, and a later run draws only the missing images. The numbers of a phrase are cut into batches
in order, so an image of the later run is in the same batch as in an unbroken run, and matrix products round the same.

Where a device's option says so, the images of several phrases share batches (`shared_batches`), and so do those of
several categories that are drawn together. What each image is does not depend on its company, apart from rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.support_store import DrawnBatch, DrawnImage, Shelf
from ovdiff.building.generation.diffusion import DrawingBatch, Generated, image_seed, share_out
from ovdiff.building.generation.tokens import fill
from ovdiff.building.parts import BuildingParts
from ovdiff.errors import SupportError, VocabularyError
from ovdiff.models.memory import Work, batch_size, run_in_batches
from ovdiff.presets import Preset

_DRAWN_TOGETHER = 32
"""Images: as many as `paper` draws for one category. Categories with fewer are drawn together up to this number."""

Draw = Callable[[Sequence[DrawingBatch]], list[tuple[Generated, NDArray[np.bool_]]]]
"""Samples batches at once, and says of each which of its images are unsafe: (B,) bool."""


@dataclass(frozen=True)
class Order:
    """The support images of one category that are to be drawn.

    Attributes:
        phrases: they share the images evenly.
        shelf: where batches are kept; ``None`` keeps none.
        on_progress: called with the fraction done, which never falls.
    """

    phrases: Sequence[str]
    shelf: Shelf | None
    on_progress: Callable[[float], None]


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
    run = _Run(Order(phrases, shelf, on_progress), parts.preset)
    _draw_missing(parts, [run])
    if not any(batch.images for batch in run.batches):
        raise SupportError(
            f"Every image generated for {' / '.join(map(repr, phrases))} was refused as unsafe, "
            f"{sum(batch.refused for batch in run.batches)} in all. Describe the category by another prompt; "
            f"if the check is wrong, raise the preset's safety.margin or choose another safety.check."
        )
    return tuple(run.batches)


def categories_together(parts: BuildingParts) -> int:
    """Return how many categories are drawn together at most: 1, unless images of several phrases share batches."""
    if not parts.models.options.shared_batches:
        return 1
    return max(1, _DRAWN_TOGETHER // parts.preset.generation.images)


def draw_together(parts: BuildingParts, orders: Sequence[Order]) -> None:
    """Draw the missing images of several categories, which share batches, and store them on their shelves.

    A category whose phrases cannot be drawn is left out: `draw_images` says what is wrong with it. A single category is
    left to it too.

    Raises:
        DeviceMemoryError: not even one image can be sampled.
        BankError: a batch cannot be stored.
    """
    runs = [run for order in orders if (run := _readable_run(parts, order)) is not None and run.missing()]
    if len(runs) > 1:
        _draw_missing(parts, runs)


def _readable_run(parts: BuildingParts, order: Order) -> "_Run | None":
    try:
        with parts.models.lock:
            for phrase in order.phrases:
                parts.generator.span(phrase)
        return _Run(order, parts.preset)
    except VocabularyError:
        return None


def draw_safely(draw: Draw, batches: Sequence[DrawingBatch], preset: Preset) -> list[DrawnBatch]:
    """Sample batches at once, and draw refused images anew with their next seeds, up to ``safety.max_redraws`` times.

    An image whose every drawing is refused is left out. Refused drawings are counted and not kept.
    """
    seed, template = preset.generation.seed, preset.generation.prompt_template
    images: list[list[DrawnImage]] = [[] for _ in batches]
    refused = [0] * len(batches)
    pending = list(batches)
    for _ in range(1 + preset.safety.max_redraws):
        open_ones = [index for index, batch in enumerate(pending) if batch.numbers]
        if not open_ones:
            break
        for index, (generated, unsafe) in zip(open_ones, draw([pending[index] for index in open_ones]), strict=True):
            batch = pending[index]
            made = zip(batch.numbers, generated.images, generated.maps, unsafe, strict=True)
            images[index] += [
                DrawnImage(number, image_seed(seed, number, batch.attempt), batch.attempt, image, attribution)
                for number, image, attribution, is_unsafe in made
                if not is_unsafe
            ]
            refused[index] += int(unsafe.sum())
            again = tuple(number for number, bad in zip(batch.numbers, unsafe, strict=True) if bad)
            pending[index] = DrawingBatch(batch.phrase, again, batch.attempt + 1)
    return [
        DrawnBatch(fill(template, left.phrase), tuple(sorted(kept, key=_number)), left.numbers, count)
        for kept, left, count in zip(images, pending, refused, strict=True)
    ]


def _number(item: DrawnImage) -> int:
    return item.number


class _Run:
    """The drawing of one category: knows the finished batches and the missing images, and reports progress."""

    def __init__(self, order: Order, preset: Preset) -> None:
        self._shelf, self._on_progress = order.shelf, order.on_progress
        self._images = preset.generation.images
        self._shares = share_out(order.phrases, self._images)
        self.batches = list(order.shelf.batches()) if order.shelf is not None else []
        self._told = 0.0

    def missing(self) -> list[list["_Wanted"]]:
        """Return the images that are still to be drawn, those of each phrase together."""
        done = self.done()
        found = [
            [_Wanted(self, phrase, number) for number in numbers if number not in done]
            for phrase, numbers in self._shares.items()
        ]
        return [wanted for wanted in found if wanted]

    def keep(self, batch: DrawnBatch) -> None:
        if self._shelf is not None:
            self._shelf.keep(batch)
        self.batches.append(batch)

    def done(self) -> frozenset[int]:
        return frozenset().union(*(batch.numbers for batch in self.batches))

    def tell(self, images: float) -> None:
        """Report the drawn images as a fraction of all. The fraction never falls, even if images are drawn anew."""
        self._told = max(self._told, images / self._images)
        self._on_progress(self._told)


class _Wanted(NamedTuple):
    """One image that is to be drawn."""

    run: _Run
    phrase: str
    number: int


def _draw_missing(parts: BuildingParts, runs: Sequence[_Run]) -> None:
    sets = [wanted for run in runs for wanted in run.missing()]
    if parts.models.options.shared_batches and sets:
        sets = [[one for wanted in sets for one in wanted]]
    for wanted in sets:
        work = _sampling(parts.preset, len(runs))
        with parts.models.lock:
            # All weights are loaded first: the batch is given the memory that they leave.
            _ = parts.generator, parts.safety
            size = batch_size(parts.models.device, work)
        run_in_batches(wanted, size, partial(_draw_and_keep, parts), work.name)


def _draw_and_keep(parts: BuildingParts, wanted: Sequence[_Wanted]) -> None:
    numbers: dict[tuple[_Run, str], list[int]] = {}
    for run, phrase, number in wanted:
        numbers.setdefault((run, phrase), []).append(number)
    batches = [DrawingBatch(phrase, tuple(of_phrase)) for (_, phrase), of_phrase in numbers.items()]
    shares = {run: sum(one.run is run for one in wanted) for run, _ in numbers}
    drawn = draw_safely(partial(_draw, parts, shares), batches, parts.preset)
    for (run, _), batch in zip(numbers, drawn, strict=True):  # All are drawn: a halved batch has kept nothing.
        run.keep(batch)


def _draw(
    parts: BuildingParts, shares: dict[_Run, int], batches: Sequence[DrawingBatch]
) -> list[tuple[Generated, NDArray[np.bool_]]]:
    """Sample batches at once and check the images, and tell each run how far its share of them is."""
    steps, settled = 0, {run: len(run.done()) for run in shares}

    def on_step() -> None:
        nonlocal steps
        steps += 1
        for run, images in shares.items():
            run.tell(settled[run] + images * steps / parts.preset.generation.steps)

    with parts.models.lock:
        generator, check = parts.generator, parts.safety
        if len(batches) == 1:
            made = [generator.generate(batches[0], on_step)]
        else:
            made = generator.generate_together(batches, on_step)
        if check is None:
            return [(one, np.zeros(len(one.images), dtype=bool)) for one in made]
        unsafe = check.refused(np.concatenate([one.images for one in made]))
    ends = np.cumsum([len(one.images) for one in made])[:-1]
    return list(zip(made, np.split(unsafe, ends), strict=True))


def _sampling(preset: Preset, categories: int) -> Work:
    """Describe the sampling of support images, of one category or of several together."""
    generation = preset.generation
    return Work(
        "sampling a support image",
        generation.batch_size * categories,
        (generation.mib_per_sample or generation.mib_per_image) if generation.mib_per_image else 0,
        preset.memory.build_gib,
        mib_at_least=generation.mib_per_image,
    )
