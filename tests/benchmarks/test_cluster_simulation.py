"""The closed formula against the played cluster at small size; benchmarks/results holds the whole grid."""

import json
from dataclasses import replace

import pytest

from benchmarks.cluster_simulation import FAST, Cluster, Setting, compare, grid, table
from benchmarks.measured_tables import RESULTS
from ovdiff.planning import Assumptions
from ovdiff.planning.throughput import duration

PLAIN = Assumptions(start_s=0, slow_share=0, batch_spread=0, failures_per_gpu_hour=0)
SMALL = replace(FAST, images=4000, categories=0, weights=0)


def seconds(setting: Setting, seed: int = 0) -> float:
    played = Cluster(setting, seed).play()
    return played.categories_s + played.images_s


@pytest.mark.parametrize(
    "assumed",
    [
        PLAIN,
        replace(PLAIN, network_gbit=0.1),
        replace(PLAIN, storage_gbit=0.1),
        replace(PLAIN, requests_per_s=20),
        replace(PLAIN, slow_share=0.25, slow_factor=2),
        replace(PLAIN, batch_spread=0.3),
    ],
    ids=["GPUs", "network", "storage", "requests", "stragglers", "spread"],
)
def test_the_formula_is_within_a_tenth_of_the_played_cluster(assumed: Assumptions) -> None:
    load = replace(SMALL, categories=24)
    told = duration(load, 4, assumed)
    played = [seconds(Setting("small", load, 4, assumed), seed) for seed in range(12)]
    assert told.seconds == pytest.approx(sum(played) / len(played), rel=0.1)


def test_failures_cost_what_the_formula_says() -> None:
    assumed = replace(PLAIN, failures_per_gpu_hour=3.0, repair_minutes=5, gpus_per_node=1)
    setting = Setting("failing", replace(SMALL, images=64_000), 4, assumed)
    played = [Cluster(setting, seed).play() for seed in range(5)]
    assert sum(each.failures for each in played) > 3
    mean = sum(each.images_s for each in played) / len(played)
    assert duration(setting.load, 4, assumed).seconds == pytest.approx(mean, rel=0.1)
    assert mean > 1.02 * seconds(replace(setting, assumed=PLAIN))


def test_every_image_is_done_once_although_nodes_fail() -> None:
    assumed = replace(PLAIN, failures_per_gpu_hour=30.0, repair_minutes=0.1)
    cluster = Cluster(Setting("failing", replace(SMALL, categories=5), 4, assumed), 1)
    ended = []
    finished = cluster.finished
    cluster.finished = lambda: (ended.append(cluster.env.now), finished())[1]  # type: ignore[method-assign]
    assert cluster.play().failures > 2
    assert len(ended) == 5 + 4000 / 32


def test_a_played_cluster_is_the_same_for_a_seed() -> None:
    setting = Setting("usual", replace(SMALL, categories=9), 8, Assumptions())
    assert seconds(setting, 3) == seconds(setting, 3) != seconds(setting, 4)


def test_the_grid_has_every_bottleneck_and_its_table_says_how_far_off_the_formula_is() -> None:
    rows = [compare(replace(each, load=replace(each.load, images=100, categories=1)), 1) for each in list(grid())[:2]]
    rows[0]["formula_over_simulated"], rows[1]["formula_over_simulated"] = 0.93, 1.04
    assert "The formula is at most 7.0% off." in table({"grid": rows, "seeds": 1})
    bottlenecks = {duration(each.load, each.gpus, each.assumed).bottleneck for each in grid()}
    assert len(bottlenecks) == 5


def test_the_measured_grid_is_within_a_tenth() -> None:
    results = json.loads((RESULTS / "cluster_simulation.json").read_text("utf-8"))
    assert [row["setting"] for row in results["grid"]] == [each.name for each in grid()]
    for row in results["grid"]:
        assert row["formula_over_simulated"] == pytest.approx(1, abs=0.1), row["setting"]
        told = next(each for each in grid() if each.name == row["setting"])
        formula = duration(told.load, told.gpus, told.assumed)
        assert formula.categories_s + formula.images_s == pytest.approx(row["formula_s"], rel=1e-4)
