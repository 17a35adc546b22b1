"""A pool of engines on a cluster: placed by what one engine needs, and made ready from one spec.

Tested by tests/backend/command/test_ray.py.
"""

from ovdiff.distributed.cluster import Cluster
from ovdiff.distributed.engine_worker import EngineSpec, start_engine
from ovdiff.distributed.placement import NO_WISH, Need, Placement, Wish, place
from ovdiff.distributed.pool import RayPool


def engine_pool(cluster: Cluster, spec: EngineSpec, need: Need, wish: Wish = NO_WISH, *, loads: bool) -> RayPool:
    """Return a pool whose workers hold one engine each.

    Args:
        cluster: the cluster.
        spec: the engine.
        need: what one engine needs.
        wish: what a person asked for.
        loads: whether the models that segment are loaded at once.

    Raises:
        DeviceError: the cluster has no such device.
    """
    return placed_pool(cluster, spec, place(need, cluster.nodes, wish), loads=loads)


def placed_pool(cluster: Cluster, spec: EngineSpec, placement: Placement, *, loads: bool) -> RayPool:
    """Return such a pool at a place that was decided."""
    return RayPool(cluster, placement, start_engine, (spec, placement.threads, loads))
