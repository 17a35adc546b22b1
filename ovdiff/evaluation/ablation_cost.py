"""What an ablation will cost, said before it runs: what is still to be computed, and for how long.

Counts follow from keys, so no model runs for them. Seconds are those of the first items, whose prototypes are kept.
"""

import time
from dataclasses import dataclass

from ovdiff.engines import SegmentationEngine
from ovdiff.engines.encodings import HasEncodings
from ovdiff.engines.segmenting import LoadsModels
from ovdiff.evaluation.ablation import CATEGORY_ERRORS, Ablation
from ovdiff.evaluation.records import recorded_images
from ovdiff.evaluation.run import Clock, EncodedScene, evaluate_encoded
from ovdiff.evaluation.shared_work import Job, image_family, missing_images, own_part, words_of
from ovdiff.vocabulary import Category, Vocabulary

_TIMED_SETS = 2  # the first one loads models


@dataclass(frozen=True)
class Timed:
    """Seconds of one item of each kind; ``None`` where none was timed."""

    draw_s: float | None = None
    prototypes_s: float | None = None
    encode_s: float | None = None
    label_s: float | None = None


@dataclass(frozen=True)
class Cost:
    """What an ablation still has to compute.

    Attributes:
        images: support images to draw.
        sets: prototype sets to make.
        encodings: images to encode, each once for a group of rows; those that the bank has on disk are counted too.
        labellings: images to label, each once for a row and a seed.
    """

    images: int
    sets: int
    encodings: int
    labellings: int

    def seconds(self, timed: Timed) -> float | None:
        """Return an estimate of the time; ``None`` if something that is to be done was not timed."""
        pairs = (
            (self.images, timed.draw_s),
            (self.sets, timed.prototypes_s),
            (self.encodings, timed.encode_s),
            (self.labellings, timed.label_s),
        )
        if any(count and each is None for count, each in pairs):
            return None
        return sum(count * each for count, each in pairs if each is not None)


def cost_of(ablation: Ablation) -> Cost:
    """Return what is still to be computed.

    Raises:
        OVDiffError: a model's files are missing, or figures on disk are damaged.
    """
    sets: dict[str, bool] = {}
    drawn: dict[tuple[str, str], int] = {}
    for job in ablation.jobs:
        engine = ablation.engines.of(job.preset)
        for category in words_of(engine, ablation.dataset.vocabulary):
            key = engine.category_key(category)
            if key in sets:
                continue
            sets[key] = engine.has(category)
            missing = 0 if sets[key] else missing_images(job.preset, category, ablation.engines.bank)
            place = (image_family(job.preset), str(category.phrases))
            drawn[place] = max(drawn.get(place, 0), missing)
    missing_of = {job: _missing(job, ablation.images) for job in ablation.jobs}
    encodings = sum(
        len(set().union(*(missing_of[job] for job in group.jobs))) for group in ablation.groups if group.encoder
    )
    labellings = sum(map(len, missing_of.values()))
    return Cost(sum(drawn.values()), sum(not there for there in sets.values()), encodings, labellings)


def time_items(ablation: Ablation) -> Timed:
    """Do the first items of the work, and return how long they took; prototypes are kept.

    An image is labelled with those words that are built, so before there are prototypes the estimate is too low.

    Raises:
        OVDiffError: a model cannot be loaded, or an image cannot be read.
    """
    draw_s, prototypes_s = _time_sets(ablation)
    encode_s, label_s = _time_image(ablation)
    return Timed(draw_s, prototypes_s, encode_s, label_s)


def _missing(job: Job, images: tuple[str, ...]) -> set[str]:
    return set(images) - recorded_images(job.folder)


def _time_sets(ablation: Ablation) -> tuple[float | None, float | None]:
    """Return the seconds of a support image and of a prototype set; the later ones count."""
    engines, draw_s, prototypes_s = ablation.engines, None, None
    for job in ablation.jobs:
        engine = engines.of(job.preset)
        missing = [each for each in words_of(engine, ablation.dataset.vocabulary) if not engine.has(each)]
        for category in missing[:_TIMED_SETS]:
            images = missing_images(job.preset, category, engines.bank)
            seconds = _time_set(engine, category)
            if seconds is not None:
                draw_s, prototypes_s = (seconds[0] / images if images else draw_s), seconds[1]
        if missing:
            break
    return draw_s, prototypes_s


def _time_set(engine: SegmentationEngine, category: Category) -> tuple[float, float] | None:
    """Return the seconds of drawing and of the rest; ``None`` if the set cannot be made."""
    begun, drawn = time.perf_counter(), time.perf_counter()

    def report(stage: str, _fraction: float) -> None:
        nonlocal drawn
        if stage == "generating":
            drawn = time.perf_counter()

    try:
        engine.build(category, report)
    except CATEGORY_ERRORS:
        return None
    return drawn - begun, time.perf_counter() - drawn


def _time_image(ablation: Ablation) -> tuple[float | None, float | None]:
    """Return the seconds of encoding an image and of labelling it by the first job."""
    job, dataset = ablation.jobs[0], ablation.dataset
    engine = ablation.engines.of(job.preset)
    if isinstance(engine, LoadsModels):
        engine.load_models()
    group = next(group for group in ablation.groups if job in group.jobs)
    image = ablation.images[0]
    labelled, encoded = dataset.read(image), None
    begun = time.perf_counter()
    if group.encoder is not None:
        encoder = ablation.engines.of(group.encoder)
        encoded = encoder.encode(labelled.image) if isinstance(encoder, HasEncodings) else None
    encode_s = time.perf_counter() - begun
    scene = EncodedScene(image, 0, labelled, own_part(encoded, job.preset) if encoded is not None else None)
    built = tuple(each for each in dataset.vocabulary.categories if engine.has(each))
    if not built:
        return encode_s, None
    label_s = 0.0
    for _ in range(2):  # the first one reads prototypes and embeds texts
        begun = time.perf_counter()
        if len(built) == len(dataset.vocabulary.categories):
            evaluate_encoded(engine, dataset, scene, ablation.protocol, Clock())
        elif isinstance(engine, HasEncodings):
            engine.label(scene.encoded, Vocabulary(built))
        label_s = time.perf_counter() - begun
    return encode_s, label_s
