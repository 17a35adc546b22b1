"""The decision where workers run, from numbers alone."""

import pytest

from ovdiff.distributed.placement import Need, Node, Placement, Wish, building_need, place, place_both, segmenting_need
from ovdiff.engines import load_any_preset
from ovdiff.errors import DeviceError

H100 = Node(cpus=16, gpus=2, gpu_gib=79.6)
SMALL = Node(cpus=4, gpus=1, gpu_gib=15.7)
PLAIN = Node(cpus=8)


def test_each_processor_gets_an_engine_of_one_thread() -> None:
    assert place(Need("cpu"), [PLAIN, Node(cpus=2.5)]) == Placement(10, cpus=1.0)
    assert not Need("cpu+resident").wants_gpu and Need("cuda+compile").wants_gpu


def test_an_engine_of_more_threads_leaves_room_for_fewer() -> None:
    found = place(Need("cpu"), [PLAIN, Node(cpus=3)], Wish(cpus=4))
    assert (found.workers, found.threads) == (2, 4)


def test_a_cluster_without_room_still_gets_one_engine_and_asks_for_more() -> None:
    found = place(Need("cpu"), [Node(cpus=0)])
    assert (found.workers, found.grows) == (1, True)


def test_engines_share_a_gpu_by_the_presets_budget() -> None:
    found = place(Need("cuda", 6.0), [H100])
    assert found == Placement(16, 1.0, gpus=0.0909, stages_apart=False)  # 11 a GPU, but 16 processors


def test_engines_with_a_large_budget_share_less() -> None:
    found = place(Need("cuda", 12.0), [H100])
    assert (found.workers, found.gpus) == (12, 0.1666)  # 6 on each of two GPUs
    assert found.stages_apart  # four processors are left for pictures


def test_the_smallest_gpu_decides_for_all() -> None:
    found = place(Need("cuda", 6.0), [H100, SMALL, PLAIN])
    assert (found.gpus, found.workers) == (0.5, 6)
    assert found.stages_apart


def test_a_gpu_of_unknown_size_holds_one_engine() -> None:
    assert place(Need("cuda", 6.0), [Node(cpus=4, gpus=2)]).gpus == 1.0


def test_an_engine_of_unknown_size_has_a_gpu_of_its_own() -> None:
    assert place(Need("cuda:1"), [H100]).workers == 2


def test_a_wish_is_granted_and_the_autoscaler_asked() -> None:
    found = place(Need("cuda", 6.0), [SMALL], Wish(workers=8, cpus=2, gpus=0.25))
    assert found == Placement(8, 2, 0.25, stages_apart=False, grows=True)
    assert not place(Need("cuda", 6.0), [SMALL], Wish(workers=2, gpus=0.5)).grows


def test_several_gpus_for_one_engine() -> None:
    assert place(Need("cuda"), [Node(16, 4, 80)], Wish(gpus=2)).workers == 2


def test_a_cluster_without_gpus_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"no machine of the cluster offers a GPU.*--num-gpus"):
        place(Need("cuda", 6.0), [PLAIN])


def test_a_budget_that_fits_no_gpu_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"may use 16 GiB.*has 15\.7 GiB.*--ray-gpus"):
        place(Need("cuda", 16.0), [H100, SMALL])


def test_a_preset_says_what_its_halves_need() -> None:
    paper = load_any_preset("paper")
    assert segmenting_need(paper, "cuda").budget_gib == 5.5
    assert building_need(paper, "cuda").budget_gib > 5.5
    assert segmenting_need(load_any_preset("odise"), "cuda").budget_gib == 0.0


def test_a_service_builds_on_a_quarter_of_the_processors() -> None:
    segmenters, builders = place_both(Need(), Need(), [PLAIN])
    assert (segmenters.workers, builders.workers, segmenters.grows) == (6, 2, False)


def test_a_service_on_one_processor_shares_it() -> None:
    segmenters, builders = place_both(Need(), Need(), [Node(cpus=1)])
    assert (segmenters.workers, segmenters.cpus, builders.workers, builders.cpus) == (1, 1.0, 1, 0.0)
    assert not segmenters.grows


def test_a_service_keeps_room_for_both_on_each_gpu() -> None:
    consumer = Node(cpus=8, gpus=1, gpu_gib=24.0)
    segmenters, builders = place_both(Need("cuda", 6.0), Need("cuda", 12.0), [consumer])
    assert (segmenters.workers, builders.workers) == (1, 1)
    assert builders.gpus > 0.5 and segmenters.gpus + builders.gpus <= 1
    segmenters, builders = place_both(Need("cuda", 6.0), Need("cuda", 12.0), [H100])
    assert (segmenters.workers, builders.workers) == (18, 2)
    assert 9 * segmenters.gpus + builders.gpus <= 1


def test_a_gpu_too_small_for_both_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"15\.7 GiB is too small for an engine that builds \(12 GiB\)"):
        place_both(Need("cuda", 6.0), Need("cuda", 12.0), [SMALL])
