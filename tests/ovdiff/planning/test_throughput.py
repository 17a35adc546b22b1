"""The formula against what can be told without it; tests/benchmarks/test_cluster_simulation.py plays it."""

from dataclasses import replace

import pytest

from ovdiff.planning.assumptions import Assumptions
from ovdiff.planning.throughput import (
    Load,
    availability,
    capacities,
    duration,
    longest,
    most_useful_gpus,
    nodes_of,
)

LOAD = Load(
    images=1e6,
    categories=0,
    category_s=60,
    device_s=0.05,
    before_s=0.002,
    after_s=0.002,
    bytes_in=100_000,
    bytes_out=25_000,
    weights=0,
)
PLAIN = Assumptions(start_s=0, slow_share=0, batch_spread=0, failures_per_gpu_hour=0)


@pytest.mark.parametrize(
    ("name", "change", "of_the_load", "expected"),
    [
        ("devices", {}, {}, 8 / 0.05),
        ("CPU cores", {"cores_per_gpu": 1}, {"after_s": 0.5}, 8 / 0.502),
        ("networks of the nodes", {"network_gbit": 0.1}, {}, 100),
        ("bandwidth of the storage", {"storage_gbit": 0.05}, {}, 50),
        ("requests of the storage", {"requests_per_s": 10, "prefixes": 3}, {}, 30),
    ],
)
def test_the_least_resource_is_the_bottleneck(
    name: str, change: dict[str, float], of_the_load: dict[str, float], expected: float
) -> None:
    found = duration(replace(LOAD, **of_the_load), 8, replace(PLAIN, **change))
    assert (found.bottleneck, found.images_per_s) == (name, pytest.approx(expected))
    assert found.images_s == pytest.approx(1e6 / expected, rel=0.01)
    assert found.gpu_hours == pytest.approx(8 * found.seconds / 3600)


def test_nodes_hold_so_many() -> None:
    assert [nodes_of(count, PLAIN) for count in (1, 8, 9, 1024)] == [1, 1, 2, 128]


@pytest.mark.parametrize(
    ("categories", "gpus", "turns"), [(1, 8, 1), (8, 8, 1), (9, 8, 2), (171, 1, 171), (171, 64, 3)]
)
def test_categories_take_turns(categories: int, gpus: int, turns: int) -> None:
    found = duration(replace(LOAD, categories=categories), gpus, PLAIN)
    assert found.categories_s == pytest.approx(turns * 60)


def test_nothing_to_do_takes_the_start_alone() -> None:
    found = duration(replace(LOAD, images=0, weights=25e9 / 8), 1, replace(PLAIN, start_s=7, network_gbit=25))
    assert found.seconds == pytest.approx(7 + 1)  # and a second for the weights


def test_few_images_wait_for_a_batch() -> None:
    found = duration(replace(LOAD, images=64), 64, replace(PLAIN, batch_images=32))
    assert found.images_s == pytest.approx(32 * (0.05 + 0.004), rel=0.05)


def test_turns_of_batches_are_whole() -> None:
    found = duration(replace(LOAD, images=96), 2, replace(PLAIN, batch_images=32))
    assert found.images_s == pytest.approx(2 * 32 * 0.05 + 32 * 0.004, rel=0.01)


def test_slow_devices_do_less_and_are_waited_for_at_the_end() -> None:
    slow = replace(PLAIN, slow_share=0.5, slow_factor=2)
    assert capacities(LOAD, 8, slow, 1.0)["devices"] == pytest.approx(0.75 * 8 / 0.05)
    assert longest(8, slow) == pytest.approx(2, rel=1e-6)
    assert longest(1, slow) == pytest.approx(1 / 0.75)


def test_the_longest_of_many_is_longer_than_that_of_few() -> None:
    spread = replace(PLAIN, batch_spread=0.2)
    found = [longest(count, spread) for count in (1, 8, 64, 1024)]
    assert found == sorted(found) and found[0] == 1 and 1.2 < found[1] < 1.4 and 1.7 < found[3] < 2
    assert longest(64, PLAIN) == pytest.approx(1)


def test_failures_take_nodes_away() -> None:
    often = replace(PLAIN, failures_per_gpu_hour=0.5, repair_minutes=15)
    hour = 3600
    assert availability(8, often) == pytest.approx(1 / 2)  # eight halves of an hour's quarters
    assert availability(8, often, 60) == availability(8, often)  # one node: all wait for it
    assert availability(64, often, 100 * hour) == pytest.approx(1 / 2, rel=0.01)
    assert availability(64, often, 60) == pytest.approx(1 - 4 * 30 / hour, rel=0.01)  # away from then to the end
    assert duration(LOAD, 8, often).seconds > 1.9 * duration(LOAD, 8, PLAIN).seconds


def test_more_devices_than_the_bottleneck_feeds_are_useless() -> None:
    limited = replace(PLAIN, requests_per_s=100)
    assert most_useful_gpus(LOAD, 64, limited) == 5  # of 20 images a second each
    assert most_useful_gpus(LOAD, 4, limited) == 4
