"""Finding a cluster, and what is said when there is none. Nothing here starts one but the session's fixture."""

import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ovdiff.distributed.cluster import Cluster, Waiting, check_address, connected, smallest_gpu_gib
from ovdiff.distributed.head import Seen
from ovdiff.distributed.placement import Node
from ovdiff.errors import ClusterError, MissingExtraError
from tests.fakes.sockets import closed_port


@pytest.mark.parametrize("text", ["", "head", "head:", "head:port", "http://head:6379", "head:6379/x", "10.0.0.1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ClusterError, match=r"is no address of a Ray cluster; expected auto\|HOST:PORT\|local"):
        check_address(text)


@pytest.mark.parametrize("text", ["auto", "local", "head:6379", "10.0.0.1:6379", "[::1]:6379"])
def test_addresses(text: str) -> None:
    check_address(text)


def test_rays_client_is_refused_with_another_way() -> None:
    with pytest.raises(ClusterError, match="ray job submit"):
        check_address("ray://head:10001")


def test_a_machine_without_ray_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"needs ray, .*pip install '\.\[ray\]'"), connected("auto"):
        pass


def test_an_address_where_nothing_answers_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    address = f"127.0.0.1:{closed_port()}"
    told = rf"No Ray cluster answers at {address}. Start one with `ray start --head`"
    with pytest.raises(ClusterError, match=told), connected(address):
        pass


def test_auto_without_a_cluster_says_how_to_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def init(**options: object) -> None:
        assert options["address"] == "auto"
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    told = r"running on this machine. Start one .* or give --ray local"
    with pytest.raises(ClusterError, match=told), connected("auto"):
        pass


def test_a_cluster_of_another_version_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def init(**options: object) -> None:
        raise RuntimeError("Version mismatch: The cluster was started with: Ray: 2.9.0")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(ClusterError, match=r"cannot be joined: Version mismatch"), connected("auto"):
        pass


def test_a_start_that_takes_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def init(**options: object) -> None:
        assert (options["address"], options["num_cpus"]) == ("local", 3)
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    told = "could not be started here: The current node timed out"
    with pytest.raises(ClusterError, match=told), connected("local", processors=3):
        pass


def test_a_cluster_says_which_machines_it_has(ray_cluster: Cluster) -> None:
    assert Node(cpus=2.0) in ray_cluster.nodes
    assert ray_cluster.answers()
    assert not Cluster(f"127.0.0.1:{closed_port()}", ()).answers()


def test_the_smallest_gpu_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert smallest_gpu_gib() == 0.0
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 81559\necho 16384\n")
    tool.chmod(tool.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), "/bin", "/usr/bin"]))
    assert smallest_gpu_gib() == 16.0


@dataclass
class Fake:
    """A head, a clock and a connection; `cluster` is what sees them."""

    monkeypatch: pytest.MonkeyPatch
    seen: Seen = Seen.HERE
    now_s: float = 0.0
    nodes: Sequence[Node] | ClusterError = (Node(8.0),)
    told: list[str] = field(default_factory=list)
    left: int = 0

    def cluster(self, *, joins: bool = True, wait_s: float = 60.0) -> Cluster:
        waiting = Waiting(wait_s, 30.0, self.told.append)
        join = self.join if joins else None
        made = Cluster("head:6379", [Node(2.0)], waiting, leave=self.leave, join=join, clock_s=lambda: self.now_s)
        # Of this cluster alone: a pool of an earlier test may still look after a real one.
        self.monkeypatch.setattr(made._head, "look", lambda *_: self.seen)
        self.monkeypatch.setattr(made, "answers", lambda *_: self.seen in (Seen.HERE, Seen.UNKNOWN))
        return made

    def leave(self) -> None:
        self.left += 1

    def join(self) -> Sequence[Node]:
        if isinstance(self.nodes, ClusterError):
            raise self.nodes
        return self.nodes

    def look(self, cluster: Cluster, seen: Seen, seconds: float = 2.0) -> None:
        self.seen, self.now_s = seen, self.now_s + seconds
        cluster.look()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(monkeypatch)


def test_a_head_that_is_silent_for_a_moment_is_left_alone(fake: Fake) -> None:
    cluster = fake.cluster()
    for seen in (Seen.HERE, *[Seen.SILENT] * 14, Seen.HERE, *[Seen.SILENT] * 14):
        fake.look(cluster, seen)
    assert cluster.is_joined and cluster.number == 1 and not fake.told


def test_one_silent_look_after_a_long_pause_gives_no_head_up(fake: Fake) -> None:
    """Between two pools of a command nobody looks; one busy moment of the head then ended the connection."""
    cluster = fake.cluster()
    fake.look(cluster, Seen.HERE)
    fake.look(cluster, Seen.SILENT, 600.0)
    fake.look(cluster, Seen.HERE)
    assert cluster.is_joined and cluster.number == 1 and not fake.told


def test_a_head_that_may_be_another_one_is_joined_anew_without_a_word(fake: Fake) -> None:
    cluster = fake.cluster()
    fake.nodes = (Node(4.0),)
    fake.look(cluster, Seen.UNKNOWN, 600.0)
    assert (cluster.is_joined, cluster.number, cluster.nodes, fake.left) == (True, 2, (Node(4.0),), 1)
    assert not fake.told
    fake.nodes = ClusterError("This machine is no node of it.")
    fake.look(cluster, Seen.UNKNOWN, 600.0)
    assert not cluster.is_joined and cluster.lost is None and len(fake.told) == 1, "it is waited for"


def test_a_cluster_that_cannot_be_joined_anew_is_kept_while_its_head_answers(fake: Fake) -> None:
    cluster = fake.cluster(joins=False)
    fake.look(cluster, Seen.UNKNOWN, 600.0)
    assert cluster.is_joined and cluster.number == 1 and cluster.lost is None and not fake.left


@pytest.mark.parametrize(("seen", "looks"), [(Seen.ENDED, 1), (Seen.SILENT, 16)])
def test_a_lost_head_is_waited_for_and_the_cluster_joined_anew(fake: Fake, seen: Seen, looks: int) -> None:
    cluster = fake.cluster()
    for _ in range(looks):
        assert cluster.is_joined
        fake.look(cluster, seen)
    assert not cluster.is_joined and fake.left == 1 and cluster.lost is None
    fake.look(cluster, Seen.SILENT)
    fake.nodes = ClusterError("This machine is no node of it.")
    fake.look(cluster, Seen.HERE)
    assert not cluster.is_joined and cluster.lost is None, "the machine may be started as a node yet"
    fake.nodes = (Node(8.0), Node(4.0))
    fake.look(cluster, Seen.HERE)
    assert cluster.is_joined and (cluster.number, cluster.nodes) == (2, (Node(8.0), Node(4.0)))
    first, second = fake.told
    assert first.startswith("The head of the Ray cluster at head:6379 does not answer; waiting for it until ")
    assert second == "The Ray cluster at head:6379 is there again; its workers start anew."
    fake.look(cluster, Seen.ENDED)
    assert not cluster.is_joined and fake.left == 2, "it may be lost again"


def test_a_head_is_not_waited_for_for_ever(fake: Fake) -> None:
    cluster = fake.cluster(wait_s=60.0)
    fake.look(cluster, Seen.ENDED)
    fake.nodes = ClusterError("This machine is no node of it.")
    fake.look(cluster, Seen.HERE, 59.0)
    assert cluster.lost is None
    fake.look(cluster, Seen.HERE)
    assert str(cluster.lost).startswith(
        "The head of the Ray cluster at head:6379 does not answer any more. This machine is no node of it. What was "
        "finished is stored: start the cluster again"
    )
    fake.nodes = (Node(8.0),)
    fake.look(cluster, Seen.HERE)
    assert not cluster.is_joined, "whoever asked was told that it is lost"


@pytest.mark.parametrize(("joins", "wait_s"), [(False, 60.0), (True, 0.0)])
def test_a_cluster_of_this_machine_or_of_a_service_is_lost_at_once(fake: Fake, joins: bool, wait_s: float) -> None:
    cluster = fake.cluster(joins=joins, wait_s=wait_s)
    fake.look(cluster, Seen.ENDED)
    assert cluster.lost is not None and not fake.told


def test_a_look_costs_something_so_it_is_not_taken_more_often_than_it_is_wanted(fake: Fake) -> None:
    cluster = fake.cluster()
    fake.look(cluster, Seen.HERE)
    fake.look(cluster, Seen.ENDED, 0.1)
    assert cluster.is_joined
    cluster.look(at_once=True)
    assert not cluster.is_joined
