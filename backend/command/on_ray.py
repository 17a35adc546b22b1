"""The work of a command on a Ray cluster: the engines that `--ray` asks for, and what they are given to do.

Tested by tests/backend/command/test_ray.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from backend.command.console import notice
from backend.serving.on_ray import EnginesOnRay, Pools
from backend.settings import RaySettings
from converters.workers import in_order
from ovdiff.bank import Bank
from ovdiff.distributed.building import Report, build_on
from ovdiff.distributed.cluster import Cluster, Waiting, connected
from ovdiff.distributed.engine_pool import engine_pool
from ovdiff.distributed.engine_worker import spec_of
from ovdiff.distributed.placement import Placement, Wish, building_need, place, segmenting_need
from ovdiff.distributed.pool import AHEAD, RayPool
from ovdiff.distributed.progress import board_on_cluster
from ovdiff.engines import SegmentationEngine
from ovdiff.vocabulary import Category

if TYPE_CHECKING:
    from ovdiff.odise.training.feature_store import Mapped
    from ovdiff.odise.training.views import Views


@dataclass(frozen=True)
class OnRay:
    """A cluster that a command works on.

    Attributes:
        cluster: the cluster.
        wish: what the person asked for.
        bank: the bank, at a place that all machines see.
        device: torch's name of the device.
    """

    cluster: Cluster
    wish: Wish
    bank: Bank
    device: str

    @contextmanager
    def segmenters(self, engine: SegmentationEngine) -> Iterator[RayPool]:
        """Yield a pool of engines like this one, whose models for segmenting are loaded; it ends with the block."""
        spec, need = spec_of(engine, self.bank, self.device), segmenting_need(engine.preset, self.device)
        with _ending(engine_pool(self.cluster, spec, need, self.wish, loads=True)) as pool:
            yield pool

    def built(
        self, engine: SegmentationEngine, categories: Sequence[Category], report: Report = lambda *_: None
    ) -> Iterator[tuple[Category, float | Exception]]:
        """Build categories side by side, and yield each with its seconds or with what ended it."""
        if not categories:
            return
        spec, need = spec_of(engine, self.bank, self.device), building_need(engine.preset, self.device)
        fewer = Wish(min(len(categories), self._placement(engine).workers), self.wish.cpus, self.wish.gpus)
        with _ending(engine_pool(self.cluster, spec, need, fewer, loads=False)) as pool:
            yield from build_on(pool, board_on_cluster(self.cluster), categories, report)

    @contextmanager
    def encoders(self, views: Views) -> Iterator[Mapped]:
        """Yield what encodes views for a store of features, by frozen models on the cluster, a batch a call."""
        from ovdiff.models.devices import shown_alone  # torch comes with it
        from ovdiff.odise.training.feature_worker import encode_here, start_encoder

        placement = place(segmenting_need(views.preset, self.device), self.cluster.nodes, self.wish)
        given = (views.preset, shown_alone(self.device), views, placement.threads)
        with _ending(RayPool(self.cluster, placement, start_encoder, given)) as pool:
            submit = partial(pool.submit, encode_here)
            yield lambda batches: (encoded for _, encoded in in_order(submit, batches, pool.workers * AHEAD))

    def for_threads(self, engine: SegmentationEngine) -> EnginesOnRay:
        """Return engines like this one for many threads that segment image by image; they start when first used."""

        def connect(_: EnginesOnRay) -> Pools:
            with ExitStack() as stack:
                pool = stack.enter_context(self.segmenters(engine))
                return Pools(pool, pool, board_on_cluster(self.cluster), stack.pop_all())
            raise AssertionError("the stack hands on every error")

        return EnginesOnRay(engine, self.bank, self.device, RaySettings(), connect=connect)

    def workers(self, engine: SegmentationEngine) -> int:
        """Return how many engines like this one `segmenters` starts."""
        return place(segmenting_need(engine.preset, self.device), self.cluster.nodes, self.wish).workers

    def opener(self, engine: SegmentationEngine) -> tuple[Placement, Callable[..., RayPool]]:
        """Return where engines that segment run, and what opens a pool there for an initializer of the caller's."""
        placement = place(segmenting_need(engine.preset, self.device), self.cluster.nodes, self.wish)
        return placement, partial(_told, self.cluster, placement)

    def _placement(self, engine: SegmentationEngine) -> Placement:
        return place(building_need(engine.preset, self.device), self.cluster.nodes, self.wish)


@contextmanager
def on_ray(address: str, wish: Wish, bank: Bank, device: str) -> Iterator[OnRay]:
    """Connect to a cluster for the time of a block.

    Raises:
        MissingExtraError: ray is not installed.
        ClusterError: no cluster answers.
    """
    with connected(address, waiting=Waiting(tell=notice)) as cluster:
        notice(f"on the Ray cluster at {cluster.address}: {len(cluster.nodes)} machines")
        yield OnRay(cluster, wish, bank, device)


def _told(cluster: Cluster, placement: Placement, initializer: Callable[..., None], given: tuple[Any, ...]) -> RayPool:
    return RayPool(cluster, placement, initializer, given)


@contextmanager
def _ending(pool: RayPool) -> Iterator[RayPool]:
    """End a pool with the block; what did not begin is given up then."""
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        figures = pool.figures
        if figures.workers_lost or figures.heads_lost:
            notice(
                f"lost on the way: {figures.workers_lost} workers, {figures.heads_lost} times all with the head; "
                f"{figures.repeated} of {figures.given} calls were repeated"
            )
