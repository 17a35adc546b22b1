"""Finding a cluster, and what is said when there is none. Nothing here starts one but the session's fixture."""

import os
import stat
import sys
from pathlib import Path

import pytest

from ovdiff.distributed.cluster import Cluster, check_address, connected, smallest_gpu_gib
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
