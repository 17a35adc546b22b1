"""The service's models on a Ray cluster: prototypes and segmentations are made there, everything else stays here.

The service asks what it asks of its own engine: `build` by the worker of `preparing.precompute`, and `segment`
by the threads that answer. What is cheap (keys, what the bank has) its own engine answers, without loading a model.

If the cluster is lost, whoever waits gets the error, which says so; the next one who asks connects anew. So a cluster
that was started again is used again, and the service is not.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from backend.settings import RaySettings
from ovdiff.bank import Bank
from ovdiff.bank.judgement import Judgement
from ovdiff.distributed.cluster import Waiting, connected
from ovdiff.distributed.engine_pool import placed_pool
from ovdiff.distributed.engine_worker import build_category, call_engine, segment_here, spec_of
from ovdiff.distributed.placement import Wish, building_need, place_both, segmenting_need
from ovdiff.distributed.pool import RayPool
from ovdiff.distributed.progress import RayBoard, board_on_cluster
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.building import JudgesWords, SharesBuilding
from ovdiff.engines.contract import Progress
from ovdiff.errors import ClusterError
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary

logger = logging.getLogger(__name__)

Found = TypeVar("Found")

_LOOK_S = 0.5
_ENDING_S = 5.0
"""How long a request waits for the engines of a lost connection to end; nothing is connected before."""


@dataclass(frozen=True)
class Pools:
    """What is connected: engines that segment, engines that build, and where builds tell how far they are.

    `ahead` are the builds that were begun: the one that is waited for, and those of the categories that come next.
    """

    segmenters: RayPool
    builders: RayPool
    board: RayBoard
    ending: ExitStack
    ahead: dict[Category, Future[float]] = field(default_factory=dict)

    def begun(self, category: Category) -> Future[float]:
        """Return the build of a category, after beginning it if need be."""
        found = self.ahead.get(category)
        if found is None:
            self.board.begin(category)
            found = self.ahead[category] = self.builders.submit(build_category, category, self.board)
        return found

    def give_up(self, category: Category) -> None:
        """Let a build end at its next stage; what was drawn is kept."""
        self.board.give_up(category)
        if (future := self.ahead.pop(category, None)) is not None:
            future.cancel()

    def end(self) -> None:
        """End the engines and leave the cluster. This waits until builds have ended, each at its next stage."""
        for category in list(self.ahead):
            self.give_up(category)
        self.ending.close()


class EnginesOnRay:
    """Engines like the service's own one, on a cluster. Threads may share it; it connects when it is first used."""

    def __init__(
        self,
        engine: SegmentationEngine,
        bank: Bank,
        device: str,
        settings: RaySettings,
        *,
        connect: Callable[[EnginesOnRay], Pools] | None = None,
    ) -> None:
        """Remember what engines are made from.

        Args:
            engine: the service's own engine, which is asked what costs no model.
            bank: the bank, at a place that all machines see.
            device: torch's name of the device.
            settings: the cluster, and how much of it is taken.
            connect: connects to the cluster.
        """
        self.engine, self.bank, self.device, self.settings = engine, bank, device, settings
        self.queue: Callable[[], Sequence[Category]] = tuple
        self._connect = connect or connect_to_cluster
        self._lock = threading.Lock()
        self._pools: Pools | None = None
        self._ending: threading.Thread | None = None
        self._stopped = False

    def category_key(self, category: Category) -> str:
        """Return the content address of a category's prototypes; no model loads."""
        return self.engine.category_key(category)

    def has(self, category: Category) -> bool:
        """Say whether the bank has a category's prototypes."""
        return self.engine.has(category)

    def being_built(self, category: Category) -> str | None:
        """Return who builds a category just now, here or on another machine."""
        return self.engine.being_built(category) if isinstance(self.engine, SharesBuilding) else None

    def load_models(self) -> None:
        """Connect, and wait until an engine has loaded the models that segment.

        Raises:
            ClusterError: no cluster answers, or it was lost.
            OVDiffError: the models do not load there.
        """
        self._asked(lambda pools: pools.segmenters.submit(call_engine, "fingerprint"))

    def build(self, category: Category, progress: Progress | None = None) -> None:
        """Have a category built, and tell how far it is; the next ones of the queue are built beside it.

        Raises:
            ClusterError: the cluster was lost; what was drawn is kept.
            OVDiffError: the category cannot be built.
        """
        pools = self._connected()
        try:
            future = pools.begun(category)
            for each in self._next(pools, category):
                pools.begun(each)
            while not wait([future], timeout=_LOOK_S).done:
                stage = pools.board.stages().get(category)
                if stage is not None and progress is not None:
                    progress(*stage)
            self._result(pools, future)
        except BaseException:
            pools.give_up(category)  # nobody wants it, or the service ends
            raise
        finally:
            pools.ahead.pop(category, None)

    def judgement(self, category: Category) -> Judgement | None:
        """Return the stored judgement of a category; no model loads."""
        return self.engine.judgement(category) if isinstance(self.engine, JudgesWords) else None

    def judge(self, category: Category) -> Judgement | None:
        """Judge a category there, unless it was judged before."""
        if not isinstance(self.engine, JudgesWords) or not self.has(category):
            return None
        known = self.judgement(category)
        return known or self._asked(lambda pools: pools.builders.submit(call_engine, "judge", category))

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary, *, objects: bool) -> Segmentation:
        """Return the segmentation of an (H, W, 3) uint8 RGB image; with ``objects``, those of one kind are told apart.

        Raises:
            ClusterError: the cluster was lost.
            OVDiffError: the image cannot be segmented.
        """
        return self._asked(lambda pools: pools.segmenters.submit(segment_here, image, vocabulary, objects))

    def stop(self) -> None:
        """End the engines and leave the cluster; a build ends at its next stage."""
        with self._lock:
            self._stopped, pools, self._pools = True, self._pools, None
        if pools is not None:
            pools.end()
        if self._ending is not None:
            self._ending.join(_ENDING_S)

    def _next(self, pools: Pools, category: Category) -> list[Category]:
        """Return categories that idle engines may build already: those whose turn comes next.

        Builds whose categories nobody wants any more are given up.
        """
        queued = [each for each in self.queue() if each != category]
        ahead = dict(pools.ahead)  # another thread may end a lost connection, and its builds, meanwhile
        for each in [each for each in ahead if each != category and each not in queued]:
            pools.give_up(each)
            del ahead[each]
        room = pools.builders.workers - sum(not future.done() for future in ahead.values())
        return [each for each in queued if each not in pools.ahead][: max(0, room)]

    def _asked(self, submit: Callable[[Pools], Future[Found]]) -> Found:
        pools = self._connected()
        return self._result(pools, submit(pools))

    def _result(self, pools: Pools, future: Future[Found]) -> Found:
        try:
            return future.result()
        except Exception as error:
            if pools.segmenters.is_broken or pools.builders.is_broken:  # lost, or its workers did not start
                self._disconnect(pools)
                logger.error("The engines on the Ray cluster are given up: %s", error)
            raise

    def _connected(self) -> Pools:
        if (ending := self._ending) is not None:
            ending.join(_ENDING_S)
        with self._lock:
            if self._stopped:
                raise ClusterError("The service ends; nothing is sent to the Ray cluster any more.")
            if self._ending is not None and self._ending.is_alive():
                raise ClusterError("The engines of a lost connection to the Ray cluster are ending. Ask again later.")
            if self._pools is None:
                self._pools = self._connect(self)
            return self._pools

    def _disconnect(self, pools: Pools) -> None:
        """End what is connected, in a thread of its own: nobody waits for the builds that run there."""
        with self._lock:
            if self._pools is pools:
                self._pools = None
                self._ending = threading.Thread(target=pools.end, name="ovdiff-ray-end", daemon=True)
                self._ending.start()


def connect_to_cluster(engines: EnginesOnRay) -> Pools:
    """Connect to the cluster of the settings, and start engines there.

    Raises:
        MissingExtraError: ray is not installed.
        ClusterError: no cluster answers.
    """
    settings, preset = engines.settings, engines.engine.preset
    wish = Wish(settings.ray_workers or None, settings.ray_cpus or None, settings.ray_gpus or None)
    spec = spec_of(engines.engine, engines.bank, engines.device)
    needs = segmenting_need(preset, engines.device), building_need(preset, engines.device)
    with ExitStack() as stack:
        # Who asks the service gets an error at once, and asks again; the next question connects anew.
        cluster = stack.enter_context(connected(settings.ray, waiting=Waiting(wait_s=0, tell=logger.warning)))
        segment, build = place_both(*needs, cluster.nodes, wish)
        segmenters = placed_pool(cluster, spec, segment, loads=True)
        stack.callback(segmenters.shutdown, cancel_futures=True)
        builders = placed_pool(cluster, spec, build, loads=False)
        stack.callback(builders.shutdown, cancel_futures=True)
        logger.info("On the Ray cluster at %s: %d engines.", cluster.address, segmenters.workers)
        return Pools(segmenters, builders, board_on_cluster(cluster), stack.pop_all())
    raise AssertionError("the stack hands on every error")
