import pytest

from ovdiff.errors import PlanError
from ovdiff.planning.assumptions import Assumptions
from ovdiff.planning.costs import Measurement, Stage, cpu_rate
from ovdiff.planning.stage_seconds import StageSeconds, stage_seconds

HALF = Assumptions(share_of_peak=0.5)
BUSY = Stage("busy", "encode", 3, flops=989.4e9, bytes=1e6)
WIDE = Stage("wide", "label", 1, flops=1e6, bytes=3350e6)
CORE = Stage("reading", "encode", 1, runs_on="core")


def one(stage: Stage, device: str = "H100", *measured: Measurement) -> StageSeconds:
    return stage_seconds([stage], "fast", device, measured, HALF)[0]


def test_what_was_measured_on_the_device_is_believed_and_the_first_of_several() -> None:
    on_it = Measurement("busy", "fast", "NVIDIA H100 80GB HBM3", 0.25, source="gpu.json")
    found = one(BUSY, "H100", on_it, Measurement("busy", "fast", "NVIDIA H100 80GB HBM3", 0.5))
    assert (found.seconds, found.basis, found.of_all) == (0.25, "measured", 0.75)
    assert found.source == "measured on NVIDIA H100 80GB HBM3, gpu.json"


@pytest.mark.parametrize(
    "other", [("busy", "paper", "NVIDIA H100"), ("wide", "fast", "NVIDIA H100"), ("busy", "fast", "L4")]
)
def test_a_measurement_of_another_stage_preset_or_device_is_not(other: tuple[str, str, str]) -> None:
    assert one(BUSY, "H100", Measurement(*other, 0.25)).basis == "extrapolated"


def test_arithmetic_is_extrapolated_by_the_published_rate_and_says_so() -> None:
    found = one(BUSY)
    assert found.seconds == pytest.approx(0.001 / 0.5)
    assert found.basis == "extrapolated"
    assert "FLOPs over 989.4 TFLOP/s (half), published, not measured" in found.source
    assert "times 0.5 of the peak, assumed" in found.source


def test_what_moves_more_than_it_computes_is_extrapolated_by_the_bandwidth() -> None:
    found = one(WIDE)
    assert found.seconds == pytest.approx(0.001 / 0.5)
    assert "bytes over 3350 GB/s, published, not measured" in found.source


def test_float32_has_a_rate_of_its_own() -> None:
    slow = Stage("busy", "encode", 3, flops=66.9e9, precision="float32")
    assert one(slow).seconds == pytest.approx(0.001 / 0.5)


def test_a_core_beside_a_gpu_is_another_machine_s() -> None:
    core = Measurement("reading", "fast", "cpu: EPYC", 0.003)
    beside, alone = one(CORE, "H100", core), one(CORE, "CPU", core)
    assert (beside.seconds, beside.basis) == (0.003, "extrapolated")
    assert "cores of other machines are supposed to be as fast" in beside.source
    assert alone.basis == "measured"


def test_on_the_processor_the_rate_is_measured() -> None:
    found = one(BUSY, "CPU")
    assert found.seconds == pytest.approx(0.9894 / cpu_rate("half")[0])
    assert found.basis == "extrapolated" and "a matrix product on cpu" in found.source


def test_what_was_neither_measured_nor_counted_is_an_error() -> None:
    with pytest.raises(
        PlanError, match=r"fast was neither measured on H100 nor counted \(reading on a core\): plan for another preset"
    ):
        one(CORE)
