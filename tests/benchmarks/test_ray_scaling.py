"""The measurement of Ray, without Ray: what is drawn, timed and compared."""

from pathlib import Path

import pytest

from backend.command.coco_file import CocoFile
from backend.command.one_image import Done, Failed
from backend.command.totals import Totals
from benchmarks.ray_scaling import drawn_jobs, foretold_s, table, timed


def test_every_scene_is_a_job_and_is_timed_after_the_warm_up(tmp_path: Path) -> None:
    jobs = drawn_jobs(3, tmp_path / "scenes")
    assert [job.image.is_file() for job in jobs] == [True] * 3
    asked: list[list[str]] = []

    def mapped(items):  # type: ignore[no-untyped-def]
        items = list(items)
        asked.append([job.name for job in items])
        yield from (([job], [Done([], (), Totals(["sky"]), CocoFile(["sky"]), None)]) for job in items)

    found = timed(mapped, jobs, 2)
    assert asked == [["0.png"] * 8, ["0.png", "1.png", "2.png"]]
    assert found["seconds"] >= 0 and len(found["masks"]) == 16


def test_a_scene_that_fails_ends_the_measurement(tmp_path: Path) -> None:
    jobs = drawn_jobs(1, tmp_path / "scenes")
    with pytest.raises(SystemExit, match=r"0\.png: no room"):
        timed(lambda items: (([job], [Failed("no room")]) for job in items), jobs, 1)


@pytest.mark.parametrize(("workers", "expected"), [(1, 24.0), (2, 12.0)])
def test_the_played_cluster_deals_the_scenes_out(workers: int, expected: float) -> None:
    assert foretold_s(24.0, 48, workers) == pytest.approx(expected, rel=0.02)


def test_the_table_says_what_was_foretold_and_how_busy_the_machine_was() -> None:
    runs = {
        "plain": {"seconds": 20.0, "warm-up": 1.0},
        "ray, 1": {"seconds": 25.0, "warm-up": 9.0, "foretold": 20.0},
    }
    figures = {"two workers against one": 1.9, "overhead of one worker": 0.25}
    said = {"scenes": 48, "runs": runs, "same masks": False, "bars": figures, **figures}
    loads = {"load average before": 0.5, "load average after": 2.5}
    text = table({**said, **loads, "machine": {"processor": "arm64"}})
    assert "| one worker on Ray | 25.0 | 9.0 | 20.0 | 0.80 |" in text
    assert "OTHER MASKS" in text and "0.5 before, 2.5 after; arm64" in text
