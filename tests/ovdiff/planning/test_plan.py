from dataclasses import replace

import pytest

from ovdiff.errors import PlanError
from ovdiff.planning import Asked, Assumptions, Estimate, assume, estimate, measurements
from ovdiff.planning.costs import Measurement, preset_costs
from ovdiff.planning.devices import published

FAST = Asked(1e6, 171, "fast", "H100", 8)


def told(asked: Asked = FAST, *measured: Measurement) -> Estimate:
    return estimate(asked, [*measured, *measurements()])


def test_a_preset_that_was_never_measured_on_the_device_says_so() -> None:
    found = told()
    assert found.basis == "extrapolated"
    assert found.notes[0].startswith("No stage of fast was ever measured on H100: every second of the device")
    assert all(each.basis == "extrapolated" for each in found.stages)


def test_what_was_measured_takes_the_place_of_what_was_extrapolated() -> None:
    pamr = Measurement("PAMR", "fast", "NVIDIA H100 80GB HBM3", 0.5)
    found, without = told(FAST, pamr), told()
    assert found.basis == "partly measured"
    assert found.notes[0].startswith("Not measured on H100, and extrapolated: denoising step with attribution, ")
    assert "PAMR" not in found.notes[0]
    extrapolated = next(each.seconds for each in without.stages if each.stage.name == "PAMR")
    assert found.load.device_s - without.load.device_s == pytest.approx(0.5 - extrapolated)
    assert found.duration.seconds > 5 * without.duration.seconds


def test_a_preset_all_of_whose_stages_were_measured_is_measured() -> None:
    rows = [Measurement(stage.name, "fast", "an H100", 0.001) for stage in preset_costs("fast").stages]
    found = told(FAST, *rows)
    assert found.basis == "measured"
    assert not any("extrapolated" in note for note in found.notes)
    assert told(Asked(100, 3, "tinyworld", "CPU", 2)).basis == "measured"


def test_the_sizes_are_told_and_hours_shrink_with_them() -> None:
    found = told()
    assert [each.gpus for each in found.at_sizes] == [1, 8, 64, 1024]
    hours = [each.seconds for each in found.at_sizes]
    assert hours == sorted(hours, reverse=True)
    assert found.at_sizes[1] == found.duration
    assert found.at_sizes[0].bottleneck == "devices"
    assert found.at_sizes[3].bottleneck == "requests of the storage"  # one prefix


def test_bytes_add_up() -> None:
    found = told()
    assert found.bytes.images_read == 1e6 * 153_000
    assert found.bytes.features_written == 0
    assert found.bytes.kept == found.bytes.masks_written + found.bytes.categories_written
    assert found.bytes.moved == found.bytes.images_read + found.bytes.weights_read + found.bytes.kept
    more = told(replace(FAST, keep_features=True, count=16))
    assert more.bytes.features_written == 1e6 * preset_costs("fast").sizes.encoding
    assert more.bytes.weights_read == 2 * found.bytes.weights_read  # two nodes


def test_memory_is_told_and_a_device_that_is_too_small_is_said_to_be() -> None:
    found = told()
    assert found.memory.fits and 3e9 < found.memory.device < 5e9
    assert told(replace(FAST, count=1)).memory.node == pytest.approx(found.memory.node / 8)
    assert told(replace(FAST, preset="paper", device="T4")).memory.fits  # 9.9 of 16 GB


def test_a_device_with_too_little_memory_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(published("T4"), memory_gb=3)  # type: ignore[type-var]
    monkeypatch.setattr("ovdiff.planning.plan.published", lambda _name: small)
    assert not told(replace(FAST, device="T4")).memory.fits


def test_caching_pays_where_reading_is_quicker_than_encoding() -> None:
    slow_network = told(replace(FAST, preset="paper"))
    assert slow_network.caching is not None and not slow_network.caching.pays
    assert slow_network.caching.edit.bottleneck == "networks of the nodes"
    gbit = slow_network.caching.pays_from_gbit * 1.2
    quick = told(replace(FAST, preset="paper", assumed=assume([f"network_gbit={gbit}", "storage_gbit=1e6"])))
    assert quick.caching is not None and quick.caching.pays
    assert quick.caching.kept == 1e6 * preset_costs("paper").sizes.encoding


def test_an_engine_that_keeps_nothing_tells_nothing_of_caching() -> None:
    found = told(replace(FAST, preset="odise"))
    assert found.caching is None and found.load.categories == 0


def test_processes_of_one_thread_do_a_core_s_work_themselves() -> None:
    found = told(Asked(100, 3, "fast", "CPU", 2))
    assert found.load.before_s == found.load.after_s == 0
    cores = [each.of_all for each in found.stages if each.stage.runs_on == "core" and each.stage.part != "category"]
    whole = sum(each.of_all for each in found.stages if each.stage.part != "category")
    assert cores and found.load.device_s == pytest.approx(whole)


@pytest.mark.parametrize(
    ("change", "what"),
    [({"images": 0}, "0 images"), ({"categories": -1}, "-1 categories"), ({"count": 0}, "0 devices")],
)
def test_impossible_numbers_are_refused(change: dict[str, int], what: str) -> None:
    with pytest.raises(PlanError, match=f"A plan for {what} cannot be made"):
        told(replace(FAST, **change))  # type: ignore[arg-type]


def test_other_assumptions_change_the_plan() -> None:
    slower = told(replace(FAST, assumed=Assumptions(share_of_peak=0.1)))
    assert slower.load.device_s == pytest.approx(told().load.device_s / 0.3)
