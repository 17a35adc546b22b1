"""`make gpu` at small sizes on the CPU: every stage runs, and what fails or ends early takes nothing else along."""

import json
import multiprocessing
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import running
from benchmarks.gpu.goals import GOALS, judged, with_whole_floors
from benchmarks.gpu.options import ON_A_CPU

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gpu")


@pytest.fixture(scope="module")
def status(out: Path) -> int:
    """The exit status of one call that does all of it.

    It is a process of its own: this one may have a server of forks already, which has imported other things.
    """
    call = [sys.executable, "-m", "benchmarks.gpu", "--out", str(out), "--tiny", "--device", "cpu", "--minutes", "9"]
    return subprocess.run(call, cwd=ROOT, check=False).returncode


@pytest.fixture(scope="module")
def told(out: Path, status: int) -> dict[str, Any]:
    return json.loads((out / "gpu.json").read_text())


@pytest.mark.slow
def test_every_stage_runs_and_nothing_fails(told: dict[str, Any], status: int) -> None:
    failed = {
        (group, name): entry["failed"]
        for group, entries in told["groups"].items()
        for name, entry in entries.items()
        if "failed" in entry
    }
    assert failed == {} and status == 0
    assert set(told["groups"]) == set(command.NAMES)
    assert told["groups"]["tests"]["tests/gpu"]["found"]["outcomes"] == {"passed": 1}


@pytest.mark.slow
def test_every_stage_of_a_preset_stands_beside_its_floor(told: dict[str, Any]) -> None:
    for name in ("paper", "fast"):
        group = told["groups"][name]
        timed = {what: entry["found"] for what, entry in group.items() if "floor" in entry["found"]}
        assert {"denoising step with attribution", "VAE decoding", "prompt encoding", "deciding"} <= set(timed)
        for found in timed.values():
            assert found["seconds_per_item"] > 0 and found["floor"]["seconds"] > 0
        for what in ("whole category", "whole image"):
            found = group[what]["found"]
            assert found["times_the_floor"] == pytest.approx(found["seconds"] / found["floor_seconds"])
            assert found["floor_lacks"] == []
        assert group["folder of images"]["found"]["images"] == 3
    guided, unguided = (told["groups"][name]["denoising step with attribution"]["found"] for name in ("paper", "fast"))
    # Guidance doubles the UNet's passes; attribution is of one half alone.
    assert 1.8 < guided["floor"]["tflop"] / unguided["floor"]["tflop"] < 2


@pytest.mark.slow
def test_the_goals_stand_beside_what_was_measured(told: dict[str, Any]) -> None:
    goals = {goal["goal"]: goal for goal in told["goals"]}
    seconds = told["groups"]["fast"]["whole image"]["found"]["seconds"]
    assert goals["an image with fast"]["measured"] == seconds
    assert goals["memory of an image with paper"]["measured"] is None  # a CPU counts none


@pytest.mark.slow
def test_each_option_of_a_device_stands_beside_the_device_without_it(told: dict[str, Any], out: Path) -> None:
    options = {what: entry["found"] for what, entry in told["groups"]["options"].items()}
    assert list(options) == [f"fast, cpu{option}" for option in ON_A_CPU]
    for found in options.values():
        assert found["image_seconds"] > 0 and found["without_it"]["category_seconds"] > 0
        assert found["pixels_that_differ"] < 0.02
    assert list(out.glob("work/bank-fast/*")) and not list(out.glob("work/bank-fast/encodings"))  # Images are encoded.


@pytest.mark.slow
def test_trained_weights_are_packed(told: dict[str, Any], out: Path) -> None:
    found = told["groups"]["training"]["drawn world"]["found"]
    assert found["trainings"]["vae"]["steps"] >= 1
    assert found["weights"] == sorted(part.name for part in out.glob("weights.tar.*")) != []


# ---------------------------------------------------------------- what fails, crashes or is too slow


@pytest.fixture
def call(tmp_path: Path) -> running.Call:
    return running.Call(("made",), tmp_path / "out", tmp_path / "work", "cpu", tiny=True, minutes=0.5)


@pytest.fixture
def made(in_this_process: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A group "made" of the measurements that a test puts into it, which are made in this process."""
    from benchmarks.gpu import groups

    measurements: dict[str, Any] = {}
    monkeypatch.setitem(groups.GROUPS, "made", lambda _context: measurements)
    return measurements


def _raise(error: BaseException) -> Any:
    raise error


@pytest.mark.slow
def test_a_measurement_that_fails_is_written_down_and_the_others_go_on(
    call: running.Call, made: dict[str, Any]
) -> None:
    made |= {"bad": lambda: _raise(ValueError("no kernel")), "good": lambda: {"seconds": 1.0}}
    found = running.run_groups(call)["made"]
    assert found["bad"]["failed"] == "ValueError: no kernel" and "_raise" in found["bad"]["where"]
    assert found["good"]["found"] == {"seconds": 1.0}


@pytest.mark.slow
def test_what_ends_its_process_has_failed_and_another_process_goes_on(call: running.Call, made: dict[str, Any]) -> None:
    made |= {"before": dict, "crash": lambda: _raise(SystemExit(-11)), "after": lambda: {"n": 2}}
    found = running.run_groups(call)["made"]
    assert found["crash"] == {"failed": "its process ended with exit code -11"}
    assert found["after"]["found"] == {"n": 2}


@pytest.mark.slow
def test_what_was_found_is_kept_and_what_failed_is_tried_again(call: running.Call, made: dict[str, Any]) -> None:
    counts = {"good": 0, "bad": 0, "paused": 0}

    def count(name: str, found: Any) -> Any:
        def measure() -> Any:
            counts[name] += 1
            return found()

        return measure

    made |= {
        "good": count("good", dict),
        "bad": count("bad", lambda: _raise(OSError("full"))),
        "paused": count("paused", lambda: {"finished": False}),
    }
    running.run_groups(call)
    running.run_groups(call)
    assert counts == {"good": 1, "bad": 2, "paused": 2}


@pytest.mark.slow
def test_what_no_time_was_left_for_is_told_and_the_next_call_makes_it(
    call: running.Call, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def long() -> Any:
        clock[0] += 60 * call.minutes
        return {"n": 1}

    made |= {"long": long, "late": lambda: {"n": 2}}
    first = running.run_groups(call)
    assert first["made"]["late"] == running.NOT_REACHED and first["made"]["long"]["found"] == {"n": 1}
    assert running.unfinished(first, ("made",)) == ["made: late"]
    second = running.run_groups(call)
    assert second["made"]["late"]["found"] == {"n": 2} and running.unfinished(second, ("made",)) == []


def test_a_group_that_no_time_was_left_for_is_told(call: running.Call, made: dict[str, Any]) -> None:
    made |= {"good": dict}
    found = running.run_groups(replace(call, minutes=0.0))
    assert found == {"made": {"group": running.NOT_REACHED}} and running.unfinished(found, ("made",)) == ["made: group"]
    assert running.unfinished({"made": {"paused": {"found": {"finished": False}}}}, ("made",)) == ["made: paused"]


@pytest.mark.parametrize(
    ("entry", "status"),
    [
        ({"found": {}}, 0),
        ({"failed": "no room"}, 1),
        ({"found": {"failures": {"a test": "its message"}}}, 1),
        (running.NOT_REACHED, 3),
        ({"found": {"finished": False}}, 3),
    ],
)
def test_the_exit_status_tells_what_failed_from_what_was_not_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: dict[str, Any], status: int
) -> None:
    monkeypatch.setattr(command, "run_groups", lambda _call: {"machine": {"ceilings": entry}})
    assert command.main(["--out", str(tmp_path), "--tiny", "--device", "cpu", "--stage", "machine"]) == status


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "soon"])
def test_a_call_has_some_minutes(tmp_path: Path, capsys: pytest.CaptureFixture[str], minutes: str) -> None:
    with pytest.raises(SystemExit):
        command.main(["--out", str(tmp_path), f"--minutes={minutes}"])
    assert f"expected minutes, more than 0, got '{minutes}'" in capsys.readouterr().err


def test_a_crash_at_the_start_of_a_group_keeps_what_earlier_calls_found(
    call: running.Call, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.gpu import groups

    made |= {"good": lambda: {"n": 1}}
    running.run_groups(call)
    monkeypatch.setitem(groups.GROUPS, "made", lambda _context: _raise(OSError("no device")))
    found = running.run_groups(call)["made"]
    assert found["good"]["found"] == {"n": 1} and found["group"]["failed"] == "OSError: no device"


def _sleep(call: running.Call, group: str, _deadline: float) -> None:
    running._write(running._path(call, group), {"slow": {"begun": True}})
    time.sleep(600)


@pytest.fixture
def sleeping(call: running.Call, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Real processes whose one measurement never ends."""
    monkeypatch.setattr(running, "_LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(running, "_END_S", 0.2)
    monkeypatch.setattr(running, "measure_group", _sleep)
    (call.work / "results").mkdir(parents=True)
    return multiprocessing.get_context("fork")


def test_a_real_process_is_ended_when_its_time_is_over(call: running.Call, sleeping: Any) -> None:
    running._run_group(sleeping, call, "made", time.monotonic() + 0.5)
    assert running._read(running._path(call, "made")) == {"slow": running.NOT_REACHED}


def test_a_measurement_that_takes_too_long_is_ended_so_that_others_have_their_time(
    call: running.Call, sleeping: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_LONGEST_S", 0.3)
    running._run_group(sleeping, call, "made", time.monotonic() + 600)
    assert running._read(running._path(call, "made")) == {"slow": {"failed": "it took longer than 0 minutes"}}


def test_where_a_failure_took_the_gpu_along_another_process_goes_on(
    call: running.Call, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an illegal access, every further call of CUDA in the same process raises the same error."""
    import torch

    fault = RuntimeError("CUDA error: an illegal memory access was encountered")
    lost = [True]
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: _raise(fault) if lost.pop() else None)
    made |= {"bad": lambda: _raise(fault), "good": dict}
    found = running.run_groups(replace(call, device="cuda"))["made"]
    assert "illegal memory access" in found["bad"]["failed"] and found["good"]["found"] == {}
    assert not lost


def test_a_gpu_that_is_lost_for_good_takes_little_of_the_time(call: running.Call, made: dict[str, Any]) -> None:
    made |= {f"crash {number}": lambda: _raise(SystemExit(70)) for number in range(20)}
    found = running.run_groups(call)["made"]
    assert found["group"] == {"failed": "its process ended with exit code 70, and so did 5 before it"}
    assert sum("failed" in entry for entry in found.values()) == running._MOST_PROCESSES + 1


def test_processes_that_use_a_gpu_are_not_forked() -> None:
    """Torch refuses a GPU to a process that was forked after torch, or diffusers at its import, asked for one."""
    assert running.processes_for("cuda").get_start_method() == "spawn"
    assert running.processes_for("cpu").get_start_method() == "forkserver"


# ---------------------------------------------------------------- goals


def _entry(seconds: float, floor: float, per_category: int, per_image: int) -> dict[str, Any]:
    return {
        "found": {
            "seconds_per_item": seconds,
            "floor": {"seconds": floor, "tflop": 2 * floor},
            "items_per_category": per_category,
            "items_per_image": per_image,
        }
    }


def test_a_whole_s_floor_is_the_sum_of_its_stages() -> None:
    group = {
        "whole category": {"found": {"seconds": 30.0}},
        "step": _entry(2.0, 0.5, 10, 0),
        "CLIP text embedding": _entry(9.0, 9.0, 0, 100),
        "PAMR": {"failed": "no room"},
    }
    found = with_whole_floors({"paper": group})["paper"]["whole category"]["found"]
    assert (found["floor_seconds"], found["floor_tflop"], found["times_the_floor"]) == (5.0, 10.0, 6.0)
    assert found["floor_lacks"] == ["PAMR"]


def test_goals_are_judged_by_their_direction_and_not_without_a_figure() -> None:
    groups = {
        "fast": {
            "whole image": {"found": {"seconds": 0.041}},
            "folder of images": {"found": {"gpu_busy": 0.9}},
            "whole category": {"failed": "no room"},
        }
    }
    reached = {goal["goal"]: goal["reached"] for goal in judged(groups, counts=True)}
    assert {goal["reached"] for goal in judged(groups, counts=False)} == {None}  # a trial, or a CPU
    assert reached["an image with fast"] is False and reached["GPU busy, a folder with fast"] is True
    assert reached["a category of fast"] is None and len(reached) == len(GOALS)
