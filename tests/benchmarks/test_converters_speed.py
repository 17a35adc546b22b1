"""The benchmark of the converters measures what it says: an export without a fault, all four jobs, both bars."""

from pathlib import Path

import pytest

from benchmarks.converters_speed import TOOLS, measure, ratios, write_export
from converters.label_studio.label_config import read_label_config
from converters.label_studio.validate import Expectations, Seen, validate_file


@pytest.mark.parametrize("tool", TOOLS)
def test_the_export_is_one_that_label_studio_would_take(tmp_path: Path, tool: str) -> None:
    write_export(tmp_path, 2, tool, (48, 64))
    seen = Seen()
    expected = Expectations(read_label_config(tmp_path / "config.xml"))
    assert [finding.text() for finding in validate_file(tmp_path / "export.json", expected, seen)] == []
    assert (seen.tasks, seen.results) == (2, 12)


def test_every_job_runs_and_is_measured(tmp_path: Path) -> None:
    write_export(tmp_path, 2, "brush", (48, 64))
    seconds = measure(tmp_path, 1)
    assert all(value > 0 for value in seconds.values())
    assert (tmp_path / "coco.json").exists() and (tmp_path / "report" / "corrections.json").exists()
    assert set(ratios(seconds)) == {"convert_to_plain", "evaluate_to_plain", "evaluate_to_convert"}
