import json
from pathlib import Path
from typing import Any

import pytest

from backend.command import cli
from backend.command.scale_plan import amount, hours

MILLION = ["plan", "--images", "1e6", "--categories", "171", "--preset", "fast", "--gpus", "8xH100"]


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main([*MILLION, *arguments]) == 0
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(told(capsys, "--json", *arguments))
    return found


def measured(tmp_path: Path, **changes: object) -> str:
    row = {"stage": "PAMR", "preset": "fast", "device": "NVIDIA H100 80GB HBM3", "seconds": 0.002, **changes}
    file = tmp_path / "gpu.json"
    file.write_text(json.dumps({"stages": [row]}))
    return str(file)


def test_people_are_told_that_nothing_was_measured_and_each_such_figure_is_marked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = told(capsys)
    assert "! No stage of fast was ever measured on H100" in out
    first = next(line for line in out.splitlines() if "device hours; it waits for" in line)
    assert first.startswith("~") and ", ~" in first
    sizes = [line.split() for line in out.splitlines() if line.endswith(("devices", "requests of the storage"))]
    assert [row[0] for row in sizes if row[0].replace(",", "").isdigit()] == ["1", "8", "64", "1,024"]
    assert all(row[1].startswith("~") for row in sizes if row[0].replace(",", "").isdigit())
    assert "Keeping the features of all images takes 10.7 TB" in out


def test_programs_are_told_what_each_figure_rests_on(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys)
    assert found["basis"] == "extrapolated"
    assert {stage["basis"] for stage in found["stages"]} == {"extrapolated"}
    assert all("published, not measured" in row["source"] for row in found["stages"] if row["runs_on"] == "device")
    assert {row["origin"] for row in found["assumptions"]} == {"published", "assumed"}
    assert found["gpu_hours"] == pytest.approx(8 * found["hours"])
    assert [row["gpus"] for row in found["at_sizes"]] == [1, 8, 64, 1024]


def test_a_measurement_of_one_s_own_machine_is_believed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = as_json(capsys, "--measured", measured(tmp_path))
    assert found["basis"] == "partly measured"
    pamr = next(row for row in found["stages"] if row["stage"] == "PAMR")
    assert (pamr["seconds_per_item"], pamr["basis"]) == (0.002, "measured")


def test_what_was_measured_wholly_is_not_marked(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--images", "1000", "--preset", "tinyworld", "--gpus", "2xCPU"]) == 0
    out = capsys.readouterr().out
    first = next(line for line in out.splitlines() if "device hours; it waits for" in line)
    assert "~" not in first


def test_the_plain_command_plans_for_the_preset_that_would_run_on_the_device_that_it_is_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["plan", "--images", "1e6"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1,000,000 images, 20 categories, preset tinyworld, 1 x CPU")
    assert "! tinyworld holds the embedded models" in out and "--preset fast" in out
    assert cli.main(["plan", "--images", "1e6", "--preset", "paper", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["device"] == "H100"


def test_the_plain_command_plans_for_the_preset_of_the_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVDIFF_PRESET", "fast")
    assert cli.main(["plan", "--images", "1e6"]) == 0
    assert "preset fast, 1 x H100" in capsys.readouterr().out


def test_assumptions_are_listed_and_can_be_others(capsys: pytest.CaptureFixture[str]) -> None:
    out = told(capsys, "--assume", "network_gbit=0.01", "--assumptions")
    assert "it waits for: networks of the nodes" in out
    assert "devices would be as quick: the rest wait for the networks of the nodes" in out
    listed = next(line for line in out.splitlines() if line.startswith("failures_per_gpu_hour"))
    assert "published" in listed and "arXiv 2407.21783" in listed


def test_stored_features_are_counted_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, "--keep-features")
    assert found["bytes"]["features_written"] == found["caching"]["kept_bytes"] > 1e12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "mine"], "Nobody counted what the preset 'mine' costs"),
        (["--gpus", "8xH300"], "Nothing is known of a device 'H300'"),
        (["--assume", "speed=3"], "There is no assumption 'speed'"),
        (["--images", "0"], "A plan for 0 images cannot be made; expected a number from 1 to 1e15"),
        (["--images", "1e30"], "A plan for 1e+30 images cannot be made; expected a number from 1 to 1e15"),
        (["--categories", "1e16"], "A plan for 1e+16 categories cannot be made; expected a number from 0 to 1e15"),
        (
            ["--preset", "tinyworld"],
            "tinyworld was neither measured on H100 nor counted (a category, whole; encoding an image; labelling an "
            "image): plan for it with --gpus 8xCPU, for another preset such as --preset fast, or give --measured FILE",
        ),
        (["--measured", "none.json"], "The measurements 'none.json' cannot be read"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_a_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.main([*MILLION, *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--images", "1.5"),
        ("--images", "many"),
        ("--images", "inf"),
        ("--images", "nan"),
        ("--gpus", "H100"),
        ("--gpus", "0xH100"),
    ],
)
def test_what_is_no_number_is_refused(capsys: pytest.CaptureFixture[str], option: str, text: str) -> None:
    with pytest.raises(SystemExit):
        cli.main([*MILLION, option, text])
    assert f"got '{text}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.14159, "3.14 s"), (600, "10.0 min"), (7200, "2.0 h"), (36e5, "1,000.0 h")]
)
def test_durations_are_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert hours(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1500, "1.5 kB"), (1e12, "1 TB"), (2.5e18, "2.5e+03 PB")])
def test_amounts_are_in_the_unit_that_fits(count: float, text: str) -> None:
    assert amount(count) == text
