"""A Ray cluster on this machine for all tests of a session: a head, and further nodes where a test adds them."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ovdiff.distributed.cluster import Cluster, connected

STORE_BYTES = 100_000_000


def started_node(nodes: Any, **options: Any) -> Any:
    """Add a node. Ray gives one up that takes longer than 30 s, as it may on a busy machine: then it is tried again."""
    for last in (False, False, True):
        try:
            return nodes.add_node(**options)
        except Exception as error:
            if last or "timed out during startup" not in str(error):
                raise
    raise AssertionError("the last try returns or raises")


@pytest.fixture(scope="session")
def ray_head() -> Iterator[Any]:
    """A cluster whose head has two processors; its nodes are processes of their own, which the end of a test finds."""
    from ray.cluster_utils import Cluster as Nodes

    folder = tempfile.mkdtemp(prefix="ray-")  # short: the paths of its sockets may have 107 characters
    options = {"num_cpus": 2, "object_store_memory": STORE_BYTES, "include_dashboard": False, "temp_dir": folder}
    nodes = Nodes(shutdown_at_exit=False)
    try:
        started_node(nodes, **options)
        yield nodes
    finally:
        nodes.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def ray_cluster(ray_head: Any) -> Iterator[Cluster]:
    """The same cluster, with this process connected to it."""
    with connected(ray_head.address) as cluster:
        yield cluster


@pytest.fixture
def ray_node(ray_head: Any) -> Iterator[Callable[..., Any]]:
    """Add nodes to the cluster for one test."""
    added: list[Any] = []

    def add(**resources: Any) -> Any:
        added.append(started_node(ray_head, object_store_memory=STORE_BYTES, **resources))
        return added[-1]

    yield add
    for node in added:
        if node in ray_head.worker_nodes:
            ray_head.remove_node(node)
