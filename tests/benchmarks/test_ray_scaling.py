"""The measurement of Ray, without Ray: what is drawn, timed and compared."""

from pathlib import Path

import pytest

from backend.command.coco_file import CocoFile
from backend.command.one_image import Done, Failed
from backend.command.totals import Totals
from benchmarks.ray_scaling import drawn_jobs, timed


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
