"""The evaluation of an engine on a dataset: image by image, resumable, in one process or several.

Every image is compared on its own, so the figures are the same in whatever order images come, and however they are
dealt out to processes. Devices and numbers of threads round differently: that moves a handful of pixels of an image.
With several processes each makes an engine of its own; prototypes must be made before.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from typing import Any

from converters.workers import as_done, leave_with_caller
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.encodings import HasEncodings
from ovdiff.engines.learning import engine_state
from ovdiff.engines.segmenting import DetectsObjects, FindsInstances
from ovdiff.errors import DatasetError, DeviceMemoryError, EvaluationError, ImageError
from ovdiff.evaluation.asked_words import random_vocabularies
from ovdiff.evaluation.dataset import Dataset, LabelledImage
from ovdiff.evaluation.figures import ImageFigures, SmallVocabulary, asked_alone, compare, segments_of
from ovdiff.evaluation.records import Records
from ovdiff.evaluation.upper_line import SeesTruth
from ovdiff.segmentation import FoundObject, Segmentation
from ovdiff.vocabulary import Vocabulary

VOCABULARIES_OF_A_SIZE = 3
"""So many random vocabularies of each small size are asked for in an image."""

IMAGE_ERRORS = (DatasetError, DeviceMemoryError, ImageError)
"""Errors that concern one image alone: after them the other images are still evaluated."""

_WAITING_A_WORKER = 4
"""So many images a process are handed out ahead; more would make a stop wait, and less would make a process wait."""


@dataclass(frozen=True)
class Protocol:
    """What is asked of an engine in each image besides the whole vocabulary.

    Attributes:
        sizes: sizes of small vocabularies; three random ones of each are asked for in each image.
    """

    sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Work:
    """What a process needs to evaluate images; picklable, so that another process can have it.

    Attributes:
        engine: makes the engine.
        dataset: opens the dataset.
        protocol: what is asked.
        threads: how many threads torch uses in a process of several; 0 leaves it alone.
    """

    engine: Callable[[], SegmentationEngine]
    dataset: Callable[[], Dataset]
    protocol: Protocol = field(default_factory=Protocol)
    threads: int = 1


@dataclass(frozen=True)
class Failure:
    """An image that could not be evaluated, and why."""

    image: str
    why: str


Report = Callable[[str, Failure | None], None]
"""Called with an image's name when it is done, and with the failure if it could not be evaluated."""


def run_identity(engine: SegmentationEngine, dataset: Dataset, protocol: Protocol) -> dict[str, Any]:
    """Return what decides the figures of an image, as JSON's types."""
    return {
        "dataset": dataset.name,
        "vocabulary": dataset.vocabulary.fingerprint(),
        "counts_background": dataset.counts_background,
        "engine": engine_state(engine, dataset.vocabulary),
        "prototypes": prototypes_key(engine, dataset.vocabulary),
        "sizes": list(protocol.sizes),
        **({"truth": dataset.truth} if dataset.truth else {}),
    }


def prototypes_key(engine: SegmentationEngine, vocabulary: Vocabulary) -> str:
    """Return a hash of the keys of a vocabulary's categories, in its order."""
    keys = [engine.category_key(category) for category in vocabulary.categories]
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()


OpenPool = Callable[[Callable[..., None], tuple[Any, ...]], Executor]
"""Opens a pool whose workers are made ready by an initializer with these arguments; a cluster of machines has one."""


def evaluate(
    work: Work,
    images: Sequence[str],
    records: Records,
    report: Report,
    *,
    workers: int = 1,
    open_pool: OpenPool | None = None,
) -> None:
    """Evaluate those images that have no figures yet.

    Args:
        work: the engine, the dataset and the protocol.
        images: names of images of the dataset.
        records: where figures are and come.
        report: is told of each image that is done.
        workers: how many processes; 1 is this one.
        open_pool: opens a pool of so many workers elsewhere, instead of processes of this machine.

    Raises:
        ClusterError: the machines of the pool were lost; what was evaluated is kept.
        EvaluationError: a process ended, such as for want of memory, or figures cannot be written.
        OVDiffError: an engine cannot be made, or prototypes are missing.
    """
    missing = [image for image in images if image not in records]
    for image, found in _evaluated(work, missing, workers, open_pool):
        if isinstance(found, ImageFigures):
            records.add(found)
            report(image, None)
        else:
            report(image, Failure(image, found))


def _evaluated(
    work: Work, images: Sequence[str], workers: int, open_pool: OpenPool | None
) -> Iterator[tuple[str, ImageFigures | str]]:
    """Yield the figures of images, or why there are none, in the order in which they are done."""
    if not images:
        return
    if workers == 1 and open_pool is None:
        judge = _Judge(work)
        yield from ((image, judge.try_image(image)) for image in images)
        return
    with _pool(open_pool or _processes(min(workers, len(images))), work) as pool:
        yield from as_done(lambda image: pool.submit(_try_image, image), images, workers * _WAITING_A_WORKER)


def _processes(count: int) -> OpenPool:
    """Return what opens a pool of processes of this machine."""
    return partial(ProcessPoolExecutor, count, get_context("spawn"))


@contextmanager
def _pool(open_pool: OpenPool, work: Work) -> Iterator[Executor]:
    pool = open_pool(_start, (work,))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise EvaluationError(
            "A process of the evaluation ended without an answer, perhaps for want of memory. What was evaluated is "
            "kept: run the command again, with fewer --workers if it happens again."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_of_this_process: "list[_Judge]" = []  # the one judge of a process of the pool


def _start(work: Work) -> None:
    leave_with_caller()
    if work.threads:
        import torch

        torch.set_num_threads(work.threads)
    _of_this_process.append(_Judge(work))


def _try_image(image: str) -> ImageFigures | str:
    return _of_this_process[0].try_image(image)


class _Judge:
    """An engine and a dataset, made when the first image is asked for."""

    def __init__(self, work: Work) -> None:
        self._engine, self._dataset, self._protocol = work.engine(), work.dataset(), work.protocol
        self._numbers = {image: number for number, image in enumerate(self._dataset.images)}

    def try_image(self, image: str) -> ImageFigures | str:
        try:
            return evaluate_image(self._engine, self._dataset, image, self._numbers[image], self._protocol)
        except IMAGE_ERRORS as error:
            return str(error)


def evaluate_image(
    engine: SegmentationEngine, dataset: Dataset, image: str, number: int, protocol: Protocol
) -> ImageFigures:
    """Segment one image and compare it with the truth.

    Args:
        engine: the method; every category is prepared.
        dataset: where the image is.
        image: its name.
        number: its number in the dataset, which decides the random vocabularies.
        protocol: what is asked besides the whole vocabulary.

    Raises:
        OVDiffError: the image or its truth cannot be read, or it cannot be segmented.
    """
    clock = Clock()
    labelled = dataset.read(image)
    clock.note("read")
    encoded = encode(engine, labelled)
    return evaluate_encoded(engine, dataset, EncodedScene(image, number, labelled, encoded), protocol, clock)


def encode(engine: SegmentationEngine, labelled: LabelledImage) -> Any:
    """Return what an engine makes of an image without any word; ``None`` if it has no encodings.

    Raises:
        OVDiffError: the image cannot be encoded.
    """
    if isinstance(engine, SeesTruth):
        return engine.encode_labelled(labelled)
    return engine.encode(labelled.image) if isinstance(engine, HasEncodings) else None


def label(engine: SegmentationEngine, labelled: LabelledImage, encoded: Any, vocabulary: Vocabulary) -> Segmentation:
    """Label an image of which :func:`encode` made something.

    Raises:
        OVDiffError: the image cannot be segmented.
    """
    if isinstance(engine, SeesTruth | HasEncodings):
        return engine.label(encoded, vocabulary)
    return engine.segment(labelled.image, vocabulary)


@dataclass(frozen=True)
class EncodedScene:
    """An image of a dataset that was read, and encoded unless the engine has no encodings.

    Attributes:
        image: its name.
        number: its number in the dataset, which decides the random vocabularies.
        labelled: the image with its truth.
        encoded: what an engine of the same encodings made of it; ``None`` for an engine that has none.
    """

    image: str
    number: int
    labelled: LabelledImage
    encoded: Any


def evaluate_encoded(
    engine: SegmentationEngine, dataset: Dataset, scene: EncodedScene, protocol: Protocol, clock: "Clock"
) -> ImageFigures:
    """Label an encoded image, and compare it with the truth.

    Args:
        engine: the method; every category is prepared.
        dataset: where the image comes from.
        scene: the image.
        protocol: what is asked besides the whole vocabulary.
        clock: has the seconds of the steps before.

    Raises:
        OVDiffError: the image cannot be segmented.
    """
    labelled, encoded = scene.labelled, scene.encoded
    found = label(engine, labelled, encoded, dataset.vocabulary)
    clock.note("segment")
    truth, objects, detected = labelled.truth, None, None
    wants_objects = truth.segments is not None or (truth.objects is not None and not isinstance(engine, DetectsObjects))
    if wants_objects and isinstance(engine, FindsInstances):
        objects = list(engine.with_instances(labelled.image, found, dataset.vocabulary).objects())
    if truth.objects is not None:
        detected = _detected(engine, encoded, objects, dataset.vocabulary)
    clock.note("objects")
    small = tuple(_small_vocabularies(engine, labelled, encoded, dataset.vocabulary, scene.number, protocol))
    clock.note("small vocabularies")
    figures = compare(
        scene.image,
        truth,
        found,
        len(dataset.vocabulary.categories),
        segments=None
        if objects is None or truth.segments is None
        else segments_of(objects, (truth.label_map.shape[0], truth.label_map.shape[1])),
        found=detected,
        small=small,
    )
    clock.note("compare")
    return replace(figures, seconds=clock.seconds)


def _detected(
    engine: SegmentationEngine, encoded: Any, objects: Sequence[FoundObject] | None, vocabulary: Vocabulary
) -> list[FoundObject] | None:
    """Return the things that were found, with their scores; they may overlap if the engine can say so."""
    if isinstance(engine, DetectsObjects):
        return list(engine.detections(encoded, vocabulary))
    if objects is None:
        return None
    return [each for each in objects if vocabulary.categories[each.index].kind != "stuff"]


def _small_vocabularies(
    engine: SegmentationEngine,
    labelled: LabelledImage,
    encoded: Any,
    vocabulary: Vocabulary,
    number: int,
    protocol: Protocol,
) -> Iterator[SmallVocabulary]:
    labels = {category: label for label, category in enumerate(vocabulary.categories, start=1)}
    for size in protocol.sizes:
        for asked in random_vocabularies(vocabulary, number, size, VOCABULARIES_OF_A_SIZE):
            found = label(engine, labelled, encoded, asked)
            whole = [labels[category] for category in asked.categories]
            yield asked_alone(labelled.truth, found, whole, len(vocabulary.categories))


class Clock:
    """Seconds of steps, each from the end of the one before."""

    def __init__(self) -> None:
        """Start now."""
        self._seconds: dict[str, float] = {}
        self._at = time.perf_counter()

    def note(self, step: str) -> None:
        """Say that a step ends now."""
        now = time.perf_counter()
        self._seconds[step], self._at = now - self._at, now

    def again(self) -> "Clock":
        """Return a clock with the same steps that goes on from now, for another use of what these steps made."""
        other = Clock()
        other._seconds = dict(self._seconds)
        return other

    @property
    def seconds(self) -> Mapping[str, float]:
        """The seconds of each step, by its name."""
        return {step: round(seconds, 4) for step, seconds in self._seconds.items()}
