import json
from pathlib import Path
from typing import Any

import pytest

from ovdiff.errors import PlanError
from ovdiff.planning.costs import Measurement, cpu_rate, measurements, preset_costs, read_measurements

ROW = {
    "stage": "PAMR",
    "preset": "fast",
    "device": "NVIDIA H100 80GB HBM3",
    "seconds": 0.002,
    "bytes": 1e9,
    "flops": None,
    "batch": 8,
}


def written(tmp_path: Path, content: Any) -> Path:
    file = tmp_path / "gpu.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


@pytest.mark.parametrize("around", [lambda rows: rows, lambda rows: {"stages": rows, "machine": "x"}])
def test_a_file_is_a_list_of_rows_or_has_one(tmp_path: Path, around: Any) -> None:
    file = written(tmp_path, around([ROW, {**ROW, "stage": "never run", "seconds": None}]))
    assert read_measurements(file) == [
        Measurement("PAMR", "fast", "NVIDIA H100 80GB HBM3", 0.002, 1e9, None, str(file))
    ]


def gpu_file(**changes: Any) -> dict[str, Any]:
    """A file as `make gpu` writes it (benchmarks/gpu)."""
    floor = {"tflop": 0.1, "gbyte": 2.0, "dtype": "float16", "seconds": 0.001, "bound_by": "arithmetic"}
    groups = {
        "machine": {"ceilings": {"found": {"machine": "NVIDIA H100 80GB HBM3, torch 2.15"}, "seconds": 3.1}},
        "fast": {
            "PAMR": {"found": {"item": "image", "seconds_per_item": 0.002, "floor": floor}, "seconds": 1.0},
            "MaskCut": {"failed": "OutOfMemoryError"},
            "whole image": {"found": {"seconds": 0.04}},
        },
    }
    return {"device": "cuda", "tiny": False, "goals": [], "groups": groups, **changes}


def test_what_make_gpu_writes_is_read_as_it_is(tmp_path: Path) -> None:
    (row,) = read_measurements(written(tmp_path, gpu_file()))
    assert (row.stage, row.preset, row.seconds, row.bytes, row.flops) == ("PAMR", "fast", 0.002, 2e9, 1e11)
    assert row.is_on("H100")


def test_what_make_gpu_measured_elsewhere_or_on_tiny_models_is_not_relabelled(tmp_path: Path) -> None:
    file = gpu_file()
    entry = file["groups"]["fast"]["PAMR"]
    file["groups"]["fast"] = {
        "PAMR": {**entry, "machine": "NVIDIA H200", "tiny": False},
        "deciding": {**entry, "tiny": True},
    }
    (row,) = read_measurements(written(tmp_path, file))
    assert row.stage == "PAMR" and row.is_on("H200") and not row.is_on("H100")


def test_a_trial_on_tiny_models_is_no_measurement_and_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(
        PlanError, match=r"gpu.json' is a trial of `make gpu` at small sizes \(--tiny\).*; give the gpu"
    ):
        read_measurements(written(tmp_path, gpu_file(tiny=True)))


@pytest.mark.parametrize("changes", [{"groups": {"machine": {}}}, {"groups": {"machine": 3}}])
def test_groups_that_make_gpu_never_writes_are_no_measurements(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match="is no file of measurements"):
        read_measurements(written(tmp_path, gpu_file(**changes)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ({"rows": []}, "is no file of measurements; expected a JSON list of rows with stage, preset, device"),
        ([3], "Row 0 of .* is 3; expected an object"),
        ([{**ROW, "stage": ""}], "has the stage ''; expected a name"),
        ([{**ROW, "device": 7}], "has the device 7; expected a name"),
        ([{**ROW, "seconds": "2"}], "has the seconds '2'; expected a number from 0, or null"),
        ([{**ROW, "seconds": True}], "has the seconds True; expected a number"),
        ([{**ROW, "bytes": -1}], "has the bytes -1; expected a number"),
        ('[{"stage": "a", "preset": "b", "device": "c", "seconds": NaN}]', "has the seconds nan"),
    ],
)
def test_a_wrong_file_is_refused_in_words(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        read_measurements(written(tmp_path, content))


def test_a_missing_file_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"The measurements '.*none\.json' cannot be read"):
        read_measurements(tmp_path / "none.json")


def test_given_measurements_come_first(tmp_path: Path) -> None:
    found = measurements([written(tmp_path, [ROW])])
    assert found[0].source.endswith("gpu.json") and len(found) > 20
    assert found[1:] == measurements()


@pytest.mark.parametrize(
    ("device", "name", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", "H100", True),
        ("NVIDIA H100 80GB HBM3", "H200", False),
        ("NVIDIA GeForce RTX 4090", "RTX4090", True),
        ("cpu: AMD EPYC, 1 thread(s)", "CPU", True),
        ("cpu: an L4 of a kind", "L4", False),
        ("NVIDIA L40S", "L4", False),
        ("NVIDIA RTX A4000", "A40", False),
        ("NVIDIA GH200 480GB", "H200", False),
        ("NVIDIA A100-SXM4-80GB", "A100", True),
        ("Tesla T4", "t4", True),
        ("NVIDIA H100 80GB HBM3", "CPU", False),
    ],
)
def test_a_device_is_known_by_a_word_of_its_name(device: str, name: str, expected: bool) -> None:
    assert Measurement("s", "p", device, 1.0).is_on(name) is expected


@pytest.mark.parametrize("preset", ["fast", "paper", "odise", "tinyworld"])
def test_the_package_knows_every_stage_by_measurement_or_by_count(preset: str) -> None:
    measured = {row.stage for row in measurements() if row.preset == preset}
    costs = preset_costs(preset)
    assert {stage.part for stage in costs.stages} >= {"encode", "label"}
    for stage in costs.stages:
        assert stage.items > 0
        assert stage.name in measured or stage.flops is not None, stage.name


def test_another_preset_is_refused_in_words() -> None:
    with pytest.raises(
        PlanError,
        match=r"Nobody counted what the preset 'mine.toml' costs; .* fast, paper, odise, tinyworld: give --preset",
    ):
        preset_costs("mine.toml")


def test_the_processor_s_rate_is_measured() -> None:
    rate, device = cpu_rate("half")
    assert 0.01 < rate < 100 and device.startswith("cpu")
