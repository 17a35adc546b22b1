"""Results of one folder are of one kind: a trial at small sizes never passes for a measurement, nor a CPU for a GPU."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import kinds
from benchmarks.gpu.kinds import Kind, OtherKindError, settled

H100 = Kind("cuda", tiny=False, machine="NVIDIA H100 80GB HBM3")
H200 = replace(H100, machine="NVIDIA H200")


def test_the_first_call_settles_the_kind_and_calls_of_the_same_kind_go_on(tmp_path: Path) -> None:
    assert settled(tmp_path, H100, ("fast",)) == H100
    assert settled(tmp_path, H100, ("paper",)) == H100


@pytest.mark.parametrize(
    ("other", "holds"),
    [
        (replace(H100, tiny=True), "full-size results of NVIDIA H100 80GB HBM3, and not tiny ones of NVIDIA H100"),
        (Kind("cpu", tiny=False, machine="cpu"), "of NVIDIA H100 80GB HBM3, and not full-size ones of cpu"),
        (H200, "of NVIDIA H100 80GB HBM3, and not full-size ones of NVIDIA H200"),
    ],
)
def test_another_kind_is_refused_and_the_folder_stays_as_it_is(tmp_path: Path, other: Kind, holds: str) -> None:
    settled(tmp_path, H100, ("fast",))
    with pytest.raises(OtherKindError, match=f"{holds}.*; give another --out"):
        settled(tmp_path, other, ("fast", "training"))
    assert settled(tmp_path, H100, ("fast",)) == H100


def test_training_alone_goes_on_on_another_gpu_but_never_at_another_size(tmp_path: Path) -> None:
    settled(tmp_path, H100, ("training",))
    assert settled(tmp_path, H200, ("training",)) == H100
    with pytest.raises(OtherKindError):
        settled(tmp_path, replace(H200, tiny=True), ("training",))


def test_results_whose_kind_nobody_wrote_down_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "fast.json").write_text("{}")
    with pytest.raises(OtherKindError, match="does not say what it was measured on"):
        settled(tmp_path, H100, ("fast",))


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_a_full_size_call_refuses_the_folder_of_a_tiny_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--out", str(tmp_path), "--device", "cpu", "--stage", "machine", "--minutes"]
    assert command.main([*arguments, "5", "--tiny"]) == 0
    first = (tmp_path / "gpu.json").read_text()
    entry = json.loads(first)["groups"]["machine"]["ceilings"]
    assert (entry["tiny"], entry["machine"]) == (True, "cpu") and json.loads(first)["tiny"]
    assert command.main([*arguments, "5"]) == 2
    assert command.main([*arguments, "5", "--again"]) == 2
    assert "holds tiny results of cpu, and not full-size ones of cpu" in capsys.readouterr().err
    assert (tmp_path / "gpu.json").read_text() == first
    assert kinds.kind_of(tmp_path / "work") == Kind("cpu", tiny=True, machine="cpu")
