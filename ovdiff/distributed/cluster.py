"""The connection to a Ray cluster: found, reached or started, with errors that say what to install or start.

::

    auto          the cluster that was started on this machine by `ray start`
    HOST:PORT     the cluster whose head answers there; this machine must be one of its nodes
    local         a cluster of this machine alone, which ends with the command

    joined -- the head ended, or is silent for long --> away -- a head answers there again --> joined, number + 1
       |                                                  |
       |                                                  +---- not while it is waited for --> lost
       |
       +-- nobody looked for a minute, and a head answers that may be another one --> joined, number + 1

A cluster that was started here ends with its head, and a program that was connected before keeps its own connection:
these are lost at once.
"""

import logging
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from ovdiff.distributed.head import Head, Seen, answers
from ovdiff.distributed.placement import Node
from ovdiff.errors import ClusterError
from ovdiff.extras import naming_the_extra

AUTO, LOCAL = "auto", "local"
ADDRESS_FORM = "auto|HOST:PORT|local"

WAIT_S = 300.0
"""So long a command waits for a head that was lost; docs/ray.md says so."""

_PATIENCE_S = 30.0  # a minute after a head fell silent Ray ends this process
_LOOK_S = 2.0
_ADDRESS = re.compile(r"([^\s:/\[\]]+|\[[0-9a-f:.]+\]):(\d{1,5})")
_CONNECT_S = 5.0
_START = "Start one with `ray start --head` (and `ray start --address=HOST:6379` on the other machines)"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waiting:
    """What is done about a head that is lost.

    Attributes:
        wait_s: so long another head is waited for; 0 waits for none.
        patience_s: a head that is silent for so long is given up; one that ended is given up at once.
        tell: is told of it, in a sentence.
    """

    wait_s: float = WAIT_S
    patience_s: float = _PATIENCE_S
    tell: Callable[[str], None] = _log.warning


COMMANDS_WAIT = Waiting()
"""What a command does: it waits, and tells the log."""


class Cluster:
    """A cluster that this process is connected to, and is connected to anew if its head is lost. Threads may share it.

    Whoever uses Ray holds `lock` meanwhile, and `is_joined` then says whether there is a connection to use.

    Attributes:
        address: HOST:PORT of its head.
        nodes: its machines that were alive when this process was connected last.
        number: counts the connections, from 1; workers that were started by an earlier one are gone.
        is_joined: whether this process is connected.
        lost: why it never will be again.
        lock: may be taken several times by one thread.
    """

    def __init__(
        self,
        address: str,
        nodes: Sequence[Node],
        waiting: Waiting = COMMANDS_WAIT,
        *,
        leave: Callable[[], None] = lambda: None,
        join: Callable[[], Sequence[Node]] | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take a cluster that this process is connected to.

        Args:
            address: HOST:PORT of its head.
            nodes: its machines that are alive.
            waiting: what is done if its head is lost.
            leave: ends the connection.
            join: connects anew and returns the machines; None if the cluster is lost with its head.
            clock_s: the present moment in seconds.
        """
        self.address, self.nodes, self.number = address, tuple(nodes), 1
        self.is_joined = True
        self.lost: ClusterError | None = None
        self.lock = threading.RLock()
        self._waiting, self._leave, self._join, self._clock_s = waiting, leave, join, clock_s
        self._head = Head(address, clock_s=clock_s)
        self._looked_s, self._until_s = clock_s() - _LOOK_S, 0.0
        self._silent_from_s: float | None = None

    def answers(self, within_s: float = _CONNECT_S) -> bool:
        """Say whether the head of the cluster takes connections."""
        return answers(self.address, within_s)

    def look(self, *, at_once: bool = False) -> None:
        """Notice a head that is gone and one that is back, every two seconds at most; needs the lock.

        Takes as long as leaving and joining take: seconds, and half a minute on a busy machine.

        Args:
            at_once: whether to look even if the last look was a moment ago.
        """
        now_s = self._clock_s()
        if self.lost is not None or (now_s - self._looked_s < _LOOK_S and not at_once):
            return
        self._looked_s = now_s
        if not self.is_joined:
            self._go_on_waiting()
            return
        seen = self._head.look(_LOOK_S)
        if seen is Seen.ENDED or (seen is Seen.SILENT and self._is_silent_for_long(now_s)):
            self._let_go()
        elif seen is Seen.UNKNOWN:
            self._join_in_doubt()
        elif seen is Seen.HERE:
            self._silent_from_s = None

    def leave(self) -> None:
        """End the connection for good."""
        with self.lock:
            self._head.forget()
            self._leave()
            self.is_joined = False

    def _is_silent_for_long(self, now_s: float) -> bool:
        """Say whether all looks of the last while found nobody; between two looks there may be any time."""
        if self._silent_from_s is None:
            self._silent_from_s = now_s
        return now_s - self._silent_from_s >= self._waiting.patience_s

    def _let_go(self, why: str = "") -> None:
        """Leave the cluster. Workers would go on without a head, but nobody would hear of them."""
        self._head.forget()
        if self._join is None or not self._waiting.wait_s:
            self.lost = head_is_lost(self.address, why)
            return
        until = time.strftime("%H:%M", time.localtime(time.time() + self._waiting.wait_s))
        self._waiting.tell(
            f"The head of the Ray cluster at {self.address} does not answer; waiting for it until {until}."
        )
        self._until_s = self._clock_s() + self._waiting.wait_s
        self.is_joined = False
        self._leave()

    def _join_in_doubt(self) -> None:
        """Connect anew to a head that may be another one: no pool looked meanwhile, so no work is lost by it."""
        self._silent_from_s = None
        if self._join is None:  # a head that was started here, or that of a program's own connection
            return
        self.is_joined = False
        self._leave()
        if (why := self._why_not_joined()) is not None:
            self._let_go(why)

    def _go_on_waiting(self) -> None:
        if (why := self._why_not_joined()) is None:
            self._waiting.tell(f"The Ray cluster at {self.address} is there again; its workers start anew.")
        elif self._clock_s() >= self._until_s:
            self.lost = head_is_lost(self.address, why)

    def _why_not_joined(self) -> str | None:
        """Try to connect anew; return None if that is done, else why not: "" where nobody takes connections."""
        if self._join is None or not self.answers(_LOOK_S):
            return ""
        try:
            self.nodes = tuple(self._join())
        except ClusterError as error:  # such as this machine, which has to be started as a node again
            return str(error)
        self.number, self.is_joined, self._silent_from_s = self.number + 1, True, None
        return None


def head_is_lost(address: str, why: str = "") -> ClusterError:
    """Return the error of a cluster whose head does not answer any more, and why a head there was of no use."""
    return ClusterError(
        f"The head of the Ray cluster at {address} does not answer any more. {why and why + ' '}What was finished is "
        "stored: start the cluster again (`ray start --head`) and run the same command, which goes on where it was."
    )


@contextmanager
def connected(address: str, *, processors: int | None = None, waiting: Waiting = COMMANDS_WAIT) -> Iterator[Cluster]:
    """Connect to a cluster, and leave it at the end; a cluster that was started here ends, too.

    Args:
        address: auto, local or HOST:PORT.
        processors: how many a cluster offers that is started here; by default those of the machine.
        waiting: what is done if its head is lost.

    Raises:
        MissingExtraError: ray is not installed.
        ClusterError: the address is none, or no cluster answers there.
    """
    with naming_the_extra("Working on a Ray cluster"):
        import ray
    check_address(address)
    if ray.is_initialized():  # a program that is connected stays so
        cluster = Cluster(_address(ray), _nodes(ray), waiting)
    else:
        _connect(ray, address, processors)
        join = None if address == LOCAL else partial(_joined, ray, _address(ray))
        cluster = Cluster(_address(ray), _nodes(ray), waiting, leave=ray.shutdown, join=join)
    try:
        yield cluster
    finally:
        cluster.leave()


def _joined(ray: Any, address: str) -> tuple[Node, ...]:
    """Connect to the cluster at HOST:PORT, and return its machines.

    Raises:
        ClusterError: this machine is not one of them, or the cluster is gone again.
    """
    ray.shutdown()  # what an earlier try left
    _connect(ray, address, None)
    try:
        return _nodes(ray)
    except Exception as error:  # Ray raises all kinds
        raise ClusterError(f"The Ray cluster at {address} is gone again: {error}") from error


def _address(ray: Any) -> str:
    return str(ray.get_runtime_context().gcs_address)


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
    # Ray tells of lost workers on stdout, where programs read the result; the pool says it, too. There is no option.
    ray._private.worker._worker_logs_enabled = False
    if address == LOCAL:
        # A cluster of one machine that ends with the command needs no web page and tells nobody of its use.
        os.putenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(address="local", num_cpus=processors, include_dashboard=False, **quiet)
        return
    if address != AUTO and not answers(address, _CONNECT_S):
        raise ClusterError(f"No Ray cluster answers at {address}. {_START}, or check the address and the firewall.")
    ray.init(address=address, **quiet)


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
