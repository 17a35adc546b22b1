"""The segmentations of recent images, so that a second click on a task costs a look-up instead of a computation.

A segmentation is found in two steps. The address of an image leads to the hash of the pixels that were last seen there,
and hash and vocabulary lead to the segmentation. An address is believed for a limited time only, because an image may
be replaced under the same address; after that time the image is fetched again, and only if its pixels differ it is
segmented anew. A changed vocabulary is another vocabulary, and so are new prototypes of the same categories.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backend.errors import ImageSourceError, ImageWaitError
from backend.serving.on_ray import EnginesOnRay
from backend.serving.predicting.together import Gathering
from backend.serving.tally import Tally
from backend.settings import PredictionSettings
from backend.sources.images import ImageSource
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.learning import engine_state
from ovdiff.engines.segmenting import FindsInstances
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary

MOST_ADDRESSES = 10_000
_ORIGINS = (("computed",), ("remembered",), ("fetched again, the same",), ("stored prediction",))

Prepared = tuple[tuple[Category, str], ...]
"""Categories in the order of the label ids, each with the key of its prototypes."""

Asked = tuple[Prepared, str]
"""What is asked of an image: the categories, and the state of the engine, which lessons and a new head change."""


@dataclass(frozen=True)
class ImageAddress:
    """Where a task's image is: the reference in the task's data, which may mean another image in another task."""

    reference: str
    task: int | None

    @property
    def key(self) -> bytes:
        """A hash that stands for the address: a presigned link may have thousands of characters."""
        return hashlib.sha256(f"{self.task} {self.reference}".encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True)
class _Seen:
    """The hash of the pixels that were fetched from an address, and when."""

    pixels: str
    at_s: float


@dataclass(frozen=True)
class _Kept:
    """A segmentation in 7 or 8 bytes a pixel instead of 12: label ids take one or two bytes, margins take two.

    Margins are kept because the scores of regions follow from them. Ids of objects take one or two bytes more.
    """

    label_map: NDArray[np.unsignedinteger]
    margins: NDArray[np.float16]
    instance_map: NDArray[np.unsignedinteger] | None
    found: Segmentation

    @classmethod
    def of(cls, found: Segmentation) -> _Kept:
        """Keep copies, because the arrays may be views of larger ones."""
        objects = None if found.instance_map is None else _compact(found.instance_map)
        nothing = found.label_map[:0].copy(), found.margins[:0].copy()
        rest = replace(
            found, label_map=nothing[0], margins=nothing[1], instance_map=None, scores=np.array(found.scores)
        )
        return cls(_compact(found.label_map), found.margins.astype(np.float16), objects, rest)

    @property
    def size_bytes(self) -> int:
        objects = 0 if self.instance_map is None else self.instance_map.nbytes
        return self.label_map.nbytes + self.margins.nbytes + objects + self.found.scores.nbytes

    def segmentation(self) -> Segmentation:
        return replace(
            self.found,
            label_map=self.label_map.astype(np.int32),
            margins=self.margins.astype(np.float32),
            instance_map=None if self.instance_map is None else self.instance_map.astype(np.int32),
        )


class _Running(NamedTuple):
    """A computation that is going on, when it began to fetch its image, and when that must have arrived."""

    future: Future[Segmentation]
    begun_s: float
    until_s: float

    def result(self, left_s: float) -> Segmentation:
        """Return the segmentation when it is there.

        Raises:
            ImageWaitError: it takes longer than `left_s`.
            Exception: whatever ended the computation.
        """
        try:
            return self.future.result(None if left_s == math.inf else max(0.0, left_s))
        except TimeoutError as error:
            text = "Another request segments this image, and took longer than this one could wait."
            raise ImageWaitError(text) from error
        finally:
            del self  # see `RecentSegmentations._run`


class RecentSegmentations:
    """Segments the images of tasks, and keeps the most recently used segmentations. Threads may share it.

    Two threads that ask for the same segmentation at the same time share one computation.
    """

    def __init__(
        self,
        images: ImageSource,
        engine: SegmentationEngine,
        settings: PredictionSettings,
        *,
        instances: FindsInstances | None = None,
        remote: EnginesOnRay | None = None,
        gathering: Gathering | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep nothing yet.

        Args:
            images: where images come from.
            engine: the method.
            settings: how much is kept, and for how long.
            instances: the engine that tells objects of one kind apart; None if nobody asked for objects.
            remote: engines like this one on a cluster, which segment instead.
            gathering: gives the engine several images at once; None: one by one.
            clock_s: the clock of `since_s`.
        """
        self._instances, self._remote = instances, remote
        self._segmenter = engine if gathering is None else gathering
        self._images, self._engine, self._settings, self._clock_s = images, engine, settings, clock_s
        self._lock = threading.Lock()
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._kept_bytes = 0
        self._running: dict[Hashable, _Running] = {}
        self.tally = Tally(*_ORIGINS)

    def of(
        self, address: ImageAddress, prepared: Mapping[Category, str], *, since_s: float, until_s: float = math.inf
    ) -> Segmentation:
        """Return the segmentation of an image; its margins are rounded to float16.

        Args:
            address: where the image is.
            prepared: the categories in the order of the label ids, each with the key of its prototypes.
            since_s: the image must have been fetched after this moment, and not before the settings' `remember_s`.
            until_s: an image that is fetched must have arrived at this moment; another thread that segments the same
                image is waited for no longer either.

        Raises:
            ImageSourceError: the image may not or cannot be fetched, is too large, or is not a picture.
            OVDiffError: the image cannot be segmented.
        """
        asked = self._asked(prepared)
        call = (address, asked)
        while True:
            with self._lock:
                found = self._look_up(address, asked, since_s)
                running = self._running.get(call)
                if found is None and running is None:
                    self._running[call] = _Running(Future(), self._clock_s(), until_s)
            if found is not None:
                self.tally.add(("remembered",))
                return found.segmentation()
            if running is None:
                return self._run(call, lambda: self._compute(address, asked, until_s))
            is_of_now = running.begun_s >= since_s
            try:
                segmentation = running.result(until_s - self._clock_s())
                if is_of_now:
                    return segmentation
                # Else its image may be an older one. It is fetched anew, and the same pixels are not segmented again.
            except ImageSourceError as error:
                if isinstance(error, ImageWaitError) or (is_of_now and until_s <= running.until_s):
                    raise  # else perhaps only the other's image was cut off, which had less time
            finally:
                del running  # see `_run`

    @contextmanager
    def opened(
        self, address: ImageAddress, prepared: Mapping[Category, str], *, until_s: float = math.inf
    ) -> Iterator[tuple[NDArray[np.uint8], Segmentation]]:
        """Fetch an image, and yield its pixels (H, W, 3) uint8 RGB beside its segmentation, which is kept as by `of`.

        Do what needs the pixels in the block, and open no second image there. Arguments and errors are those of `of`.
        """
        asked, fetched_s = self._asked(prepared), self._clock_s()
        with self._images.opened(address.reference, task_id=address.task, within_s=until_s - fetched_s) as pixels:
            yield pixels, self._segmented(address, pixels, asked, fetched_s).segmentation()

    @property
    def kept_bytes(self) -> int:
        """The bytes of the segmentations that are remembered."""
        with self._lock:
            return self._kept_bytes

    def _asked(self, prepared: Mapping[Category, str]) -> Asked:
        vocabulary = Vocabulary(tuple(prepared)) if prepared else None
        return tuple(prepared.items()), engine_state(self._engine, vocabulary)

    def _run(self, call: Hashable, compute: Callable[[], _Kept]) -> Segmentation:
        """Compute a segmentation, and hand it or the error to the threads that wait for it.

        No future stays in a variable: an error's traceback holds the frames of its functions, so a future that holds
        the error would be held by it, and with it the pixels of the image until Python looks for such circles.
        """
        mine = self._running[call].future
        try:
            segmentation = compute().segmentation()
            mine.set_result(segmentation)
            return segmentation
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._running[call]
            del mine

    def _compute(self, address: ImageAddress, asked: Asked, until_s: float) -> _Kept:
        fetched_s = self._clock_s()
        with self._images.opened(address.reference, task_id=address.task, within_s=until_s - fetched_s) as pixels:
            return self._segmented(address, pixels, asked, fetched_s)

    def _segmented(self, address: ImageAddress, pixels: NDArray[np.uint8], asked: Asked, fetched_s: float) -> _Kept:
        """Return the segmentation of pixels that were fetched from an address: the kept one, or a new one."""
        seen = _Seen(_pixel_hash(pixels), fetched_s)
        with self._lock:
            self._note(address, seen)
            known = self._kept.get((seen.pixels, asked))
        self.tally.add(("computed",) if known is None else ("fetched again, the same",))
        if known is not None:
            return known
        vocabulary = Vocabulary(tuple(category for category, _ in asked[0]))
        kept = _Kept.of(self._look(pixels, vocabulary))
        with self._lock:
            self._keep((seen.pixels, asked), kept)
        return kept

    def _look(self, pixels: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        if self._remote is not None:
            return self._remote.segment(pixels, vocabulary, objects=self._instances is not None)
        found = self._segmenter.segment(pixels, vocabulary)
        return found if self._instances is None else self._instances.with_instances(pixels, found, vocabulary)

    def _look_up(self, address: ImageAddress, asked: Asked, since_s: float) -> _Kept | None:
        seen = self._seen.get(address.key)
        if seen is None or seen.at_s < max(since_s, self._clock_s() - self._settings.remember_s):
            return None
        key = (seen.pixels, asked)
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def _note(self, address: ImageAddress, seen: _Seen) -> None:
        self._seen[address.key] = seen
        self._seen.move_to_end(address.key)
        if len(self._seen) > MOST_ADDRESSES:
            self._seen.popitem(last=False)

    def _keep(self, key: Hashable, kept: _Kept) -> None:
        """Keep a segmentation; the least recently used ones are dropped until all fit."""
        if key in self._kept or kept.size_bytes > self._settings.remember_bytes:
            return
        self._kept[key] = kept
        self._kept_bytes += kept.size_bytes
        while self._kept_bytes > self._settings.remember_bytes:
            self._kept_bytes -= self._kept.popitem(last=False)[1].size_bytes


def _compact(ids: NDArray[np.int32]) -> NDArray[np.unsignedinteger]:
    """Return ids from 0 on in as few bytes as the largest id needs."""
    return ids.astype(np.min_scalar_type(int(ids.max())))


def _pixel_hash(pixels: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
