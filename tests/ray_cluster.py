"""A Ray cluster on this machine for all tests of a session: a head, and further nodes where a test adds them."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ovdiff.distributed.cluster import Cluster, connected
from tests.fakes.sockets import closed_port
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    import psutil

STORE_BYTES = 100_000_000
WITHOUT = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
"""Processes of a head that no test asks for."""


def started_node(nodes: Any, **options: Any) -> Any:
    """Add a node. Ray gives one up that takes long, as it may on a busy machine: then it is tried again."""
    import psutil

    for last in (False, False, True):
        before = set(psutil.Process().children())
        try:
            with _patience():
                return nodes.add_node(object_store_memory=STORE_BYTES, **options)
        except Exception as error:
            for left in set(psutil.Process().children()) - before:  # or they keep the machine busy
                left.kill()
            if last or "timed out during startup" not in str(error):
                raise
    raise AssertionError("the last try returns or raises")


COMPUTES = "ray::Worker.run"
"""Ray's title of a process while it executes that method, which is every call that a pool gives to a worker."""


def kill_a_worker_with_a_call(nodes: Any, within_s: float) -> None:
    """Kill a worker on the head that has a call in hand: an idle one would be missed only when it is given another.

    Its last look at the title is at a process that is stopped, so that the call cannot end before the worker does.
    """
    (raylet,) = nodes.head_node.all_processes["raylet"]
    assert eventually(lambda: _is_one_killed(raylet.process.pid), within_s), "no worker had a call in hand"


def _is_one_killed(raylet: int) -> bool:
    import psutil

    for process in psutil.Process(raylet).children():
        try:
            if _computes(process) and _computes_while_it_is_stopped(process):
                process.kill()
                return True
        except psutil.NoSuchProcess:  # it ended meanwhile, like the workers of a pool that is left
            continue
    return False


def _computes(process: "psutil.Process") -> bool:
    return process.cmdline()[:1] == [COMPUTES]


def _computes_while_it_is_stopped(process: "psutil.Process") -> bool:
    """Stop a process, and leave it so if it still computes."""
    process.suspend()
    computes = eventually(lambda: process.status() == "stopped") and _computes(process)
    if not computes:
        process.resume()
    return computes


@contextmanager
def _patience() -> Iterator[None]:
    """Let Ray wait three times as long for a node as the 30 s that it has no option for: its clock is slower."""
    from ray._private import node

    slower = SimpleNamespace(**{**vars(time), "monotonic": lambda: time.monotonic() / 3})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(node, "time", slower)
        yield


class MortalHead:
    """A head on a port of its own, whose processes are killed by SIGKILL and which is started there again."""

    def __init__(self, cpus: int) -> None:
        self._cpus, self._port = cpus, closed_port()
        self._nodes: Any = None
        self._folders: list[str] = []

    def start(self) -> str:
        """Start it, and return its address."""
        from ray.cluster_utils import Cluster as Nodes

        self._nodes = Nodes(shutdown_at_exit=False)
        self._folders.append(_short_folder())
        own = {"gcs_server_port": self._port, "temp_dir": self._folders[-1]}
        started_node(self._nodes, num_cpus=self._cpus, **own, **WITHOUT)
        return str(self._nodes.address)

    def kill(self) -> None:
        """Kill all of its processes; its workers end with them."""
        for processes in self._nodes.head_node.all_processes.values():
            for each in processes:
                each.process.kill()
                each.process.wait()

    def clear(self) -> None:
        """End it in peace."""
        if self._nodes is not None:
            self._nodes.shutdown()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def mortal_head() -> Iterator[MortalHead]:
    """A head that no other test knows."""
    head = MortalHead(cpus=1)
    yield head
    head.clear()


def _short_folder() -> str:
    return tempfile.mkdtemp(prefix="ray-")  # the paths of its sockets may have 107 characters


@pytest.fixture(scope="session")
def ray_head() -> Iterator[Any]:
    """A cluster whose head has two processors; its nodes are processes of their own, which the end of a test finds."""
    from ray.cluster_utils import Cluster as Nodes

    folder = _short_folder()
    nodes = Nodes(shutdown_at_exit=False)
    try:
        started_node(nodes, num_cpus=2, temp_dir=folder, **WITHOUT)
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
        added.append(started_node(ray_head, **resources))
        return added[-1]

    yield add
    for node in added:
        if node in ray_head.worker_nodes:
            ray_head.remove_node(node)
