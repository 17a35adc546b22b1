"""The memory of a run by manifest: measured, summed up and drawn."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.manifest_memory import draw, family_mib, measure, summary

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_small_run_is_measured(tmp_path: Path) -> None:
    (found,) = measure(tmp_path, 60, cheap=True, form="parquet", shard_rows=20)
    assert (found["rows"], found["images"], len(found["mib_by_rows"])) == (60, 60, 3)
    assert found["masks"] > 60 and found["highest_mib_afterwards"] > 20


def test_the_memory_of_a_process_is_that_of_its_children_too() -> None:
    alone_mib = family_mib(os.getpid())
    holds = "data = bytearray(b'x') * (1 << 26); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", holds], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert 64 < family_mib(os.getpid()) - alone_mib < 90
        child.communicate(b"\n")


def test_memory_that_grows_is_seen_as_a_slope() -> None:
    flat, growing = ([(1000 * n, 100.0 + grows * n) for n in range(1, 101)] for grows in (0.0, 0.5))
    assert summary(flat)["slope_mib_per_10000_rows"] == 0
    assert summary(growing)["slope_mib_per_10000_rows"] == pytest.approx(5.0)
    assert (
        summary(growing)["highest_mib_in_the_first_tenth"] == 105 and summary(growing)["highest_mib_afterwards"] == 150
    )


def test_the_run_of_the_repository_is_flat_and_is_what_the_page_says() -> None:
    result = json.loads((ROOT / "benchmarks/results/manifest_memory.json").read_text())
    page = (ROOT / "docs/manifests.md").read_text()
    for curve in result["curves"]:
        assert curve["highest_mib_afterwards"] < 1.05 * curve["highest_mib_in_the_first_tenth"]
        assert f"{curve['slope_mib_per_10000_rows']:+.2f}" in page
    assert [curve["rows"] for curve in result["curves"][:2]] == [100_000, 100_000]


def test_the_run_on_ray_ends_as_high_as_it_began_and_is_what_the_page_says() -> None:
    command, everything = json.loads((ROOT / "benchmarks/results/manifest_memory_ray.json").read_text())["curves"]
    page = (ROOT / "docs/manifests.md").read_text()
    for curve in (command, everything):
        assert curve["rows"] >= 99_000
        assert curve["highest_mib_afterwards"] < 1.05 * curve["highest_mib_in_the_first_tenth"]
    mib = [mib for _, mib in everything["mib_by_rows"]]
    assert f"{command['slope_mib_per_10000_rows']:+.2f}" in page
    assert f"between {min(mib):,.0f} and {max(mib):,.0f} MiB" in page


def test_curves_are_drawn() -> None:
    flat = summary([(n, 100.0) for n in range(1, 30)])
    curves = [{"engine": "brightness", "format": "coco", **flat}]
    assert draw(curves).tobytes() != draw([{**curves[0], "processes": "command on Ray"}]).tobytes()
    picture = np.asarray(draw(curves))
    assert picture.shape == (300, 720, 3) and (picture == (47, 109, 179)).all(axis=2).sum() > 600
