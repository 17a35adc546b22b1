"""The memory benchmark at a small size: converting must not grow with the export."""

from pathlib import Path

from benchmarks.converters_memory import REGIONS, measure


def test_memory_does_not_grow_with_the_export(tmp_path: Path) -> None:
    measured = measure(300, tmp_path)
    assert (measured["regions"], measured["export_mb"] > 20) == (300 * REGIONS, True)
    assert measured["peak_mib"] - measured["base_mib"] < 20
