from pathlib import Path
from typing import Any

import pytest

from benchmarks import one_cpu
from benchmarks.one_cpu import SETTINGS, stage_rows, stages_table, windows_table, worker_rows, workers_table

ABOUT = {"scenes": 2, "machine": "M", "load_average": 9.5}


def test_the_stages_are_those_that_were_measured_on_one_thread() -> None:
    rows = stage_rows()
    seconds = {row["stage"]: row["seconds"] for row in rows}
    assert seconds["denoising step with attribution"] == pytest.approx(32 * 6.034, rel=0.01)
    text = stages_table({"stages": rows})
    category = sum(row["seconds"] for row in rows if row["of"] == "category")
    assert f"| a category, all |  |  | {category:.0f} |" in text
    assert text.index("denoising step") < text.index("safety check") < text.index("PAMR")


def test_fewer_windows_take_their_share_of_the_seconds_of_windows() -> None:
    usual, without_whole, whole_alone, smaller = (one_cpu._of_fast(setting.fast) for setting in SETTINGS)
    assert [each["fast_windows"] for each in (usual, without_whole, whole_alone, smaller)] == [3, 2, 1, None]
    a_window = sum(row["seconds"] for row in stage_rows() if row["items"] == 3) / 3
    assert usual["fast_s"] - without_whole["fast_s"] == pytest.approx(a_window)
    assert usual["fast_s"] - whole_alone["fast_s"] == pytest.approx(2 * a_window)
    rows = [{"setting": "S", "windows": 6, "processor_s": 0.25, "miou": 0.5, **each} for each in (usual, smaller)]
    text = windows_table({"windows": {"rows": rows, **ABOUT}})
    assert "| S | 6 | 0.25 | 0.500 | 3 | 18 |\n| S | 6 | 0.25 | 0.500 | – | – |" in text


def test_masks_of_threads_and_processes_are_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def segmented(scenes: Path, out: Path, bank: Path, threads: int, workers: int) -> tuple[float, float]:
        out.mkdir()
        for number, scene in enumerate(sorted(scenes.iterdir())):
            (out / scene.name).write_text("other" if threads == 2 and number == 1 else "same")
        return 4.0 / workers, 3.0 * threads

    def nothing(*_given: Any) -> None:
        pass

    monkeypatch.setattr(one_cpu, "_segmented", segmented)
    monkeypatch.setattr(one_cpu, "Bench", nothing)
    text = workers_table({"workers": {"rows": worker_rows(2, tmp_path), **ABOUT}})
    assert "| 1 process, 1 thread | 3.0 | 4.0 | 2 of 2 |\n| 1 process, 2 threads | 6.0 | 4.0 | 1 of 2 |" in text
    assert "| 2 processes, 1 thread each | 3.0 | 2.0 | 2 of 2 |" in text and "was 9.5 when it began" in text
