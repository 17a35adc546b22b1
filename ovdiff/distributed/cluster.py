"""The connection to a Ray cluster: found, reached or started, with errors that say what to install or start.

::

    auto          the cluster that was started on this machine by `ray start`
    HOST:PORT     the cluster whose head answers there; this machine must be one of its nodes
    local         a cluster of this machine alone, which ends with the command
"""

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ovdiff.distributed.placement import Node
from ovdiff.errors import ClusterError
from ovdiff.extras import naming_the_extra

AUTO, LOCAL = "auto", "local"
ADDRESS_FORM = "auto|HOST:PORT|local"

_ADDRESS = re.compile(r"([^\s:/\[\]]+|\[[0-9a-f:.]+\]):(\d{1,5})")
_CONNECT_S = 5.0
_START = "Start one with `ray start --head` (and `ray start --address=HOST:6379` on the other machines)"


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to.

    Attributes:
        address: HOST:PORT of its head.
        nodes: its machines that are alive.
    """

    address: str
    nodes: tuple[Node, ...]

    def answers(self, within_s: float = _CONNECT_S) -> bool:
        """Say whether the head of the cluster takes connections."""
        return _answers(self.address, within_s)


@contextmanager
def connected(address: str, *, processors: int | None = None) -> Iterator[Cluster]:
    """Connect to a cluster, and leave it at the end; a cluster that was started here ends, too.

    Args:
        address: auto, local or HOST:PORT.
        processors: how many a cluster offers that is started here; by default those of the machine.

    Raises:
        MissingExtraError: ray is not installed.
        ClusterError: the address is none, or no cluster answers there.
    """
    with naming_the_extra("Working on a Ray cluster"):
        import ray
    check_address(address)
    if ray.is_initialized():  # a program that is connected stays so
        yield _cluster(ray)
        return
    _connect(ray, address, processors)
    try:
        yield _cluster(ray)
    finally:
        ray.shutdown()


def _cluster(ray: Any) -> Cluster:
    return Cluster(ray.get_runtime_context().gcs_address, _nodes(ray))


def check_address(address: str) -> None:
    """Refuse what is no address of a cluster.

    Raises:
        ClusterError: it is neither auto nor local nor HOST:PORT.
    """
    if address.startswith("ray://"):
        raise ClusterError(
            f"{address} is an address for Ray's client, which is not used here. Run the command on a machine of the "
            "cluster and name it HOST:PORT, or submit it: ray job submit -- ovdiff ... --ray auto"
        )
    if address not in (AUTO, LOCAL) and not _ADDRESS.fullmatch(address):
        raise ClusterError(f"{address!r:.200} is no address of a Ray cluster; expected {ADDRESS_FORM}.")


def _connect(ray: Any, address: str, processors: int | None) -> None:
    try:
        _init(ray, address, processors)
    except ConnectionError as error:
        if address == AUTO:
            raise ClusterError(
                f"No Ray cluster is running on this machine. {_START}, name the HOST:PORT of one, or give --ray local."
            ) from error
        raise ClusterError(f"The Ray cluster at {address} does not take this machine: {error}") from error
    except ClusterError:
        raise
    except Exception as error:  # Ray raises all kinds: another version there, a start that took too long
        what = "could not be started here" if address == LOCAL else f"at {address} cannot be joined"
        raise ClusterError(f"The Ray cluster {what}: {error}") from error


def _init(ray: Any, address: str, processors: int | None) -> None:
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    if address == LOCAL:
        # A cluster of one machine that ends with the command needs no web page and tells nobody of its use.
        os.putenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(address="local", num_cpus=processors, include_dashboard=False, **quiet)
        return
    if address != AUTO and not _answers(address, _CONNECT_S):
        raise ClusterError(f"No Ray cluster answers at {address}. {_START}, or check the address and the firewall.")
    ray.init(address=address, **quiet)


def _answers(address: str, within_s: float) -> bool:
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), within_s):
        return True
    return False


def _nodes(ray: Any) -> tuple[Node, ...]:
    found = []
    for node in ray.nodes():
        if node["Alive"]:
            resources = node["Resources"]
            gpus = resources.get("GPU", 0.0)
            found.append(Node(resources.get("CPU", 0.0), gpus, _gpu_gib(ray, node["NodeID"]) if gpus else 0.0))
    return tuple(found)


def _gpu_gib(ray: Any, node_id: str) -> float:
    """Ask a machine for the memory of its smallest GPU, in GiB; 0 if it cannot say."""
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node_id, soft=False)
    ask = ray.remote(num_cpus=0, scheduling_strategy=strategy)(smallest_gpu_gib)
    try:
        return float(ray.get(ask.remote(), timeout=60))
    except ray.exceptions.RayError:
        return 0.0


def smallest_gpu_gib() -> float:
    """Return the memory of this machine's smallest GPU by its driver's own tool, in GiB; 0 if there is no such tool."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
        return min(float(line) for line in told.split()) / 1024
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0.0
