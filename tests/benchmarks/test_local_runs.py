import pytest

from benchmarks.local_runs import foretold, table


@pytest.mark.parametrize(("workers", "expected"), [(1, 10 + 48 * 0.5), (2, 10 + 24 * 0.5)])
def test_what_is_foretold_is_the_start_and_a_share_of_the_scenes(workers: int, expected: float) -> None:
    told = foretold(48, workers, start_s=10, scene_s=0.5)
    assert told["formula_s"] == pytest.approx(expected, rel=0.02)
    assert told["simulated_s"] == pytest.approx(expected, rel=0.02)


def test_the_table_says_how_far_off_and_how_busy_the_machine_was() -> None:
    row = {"workers": 2, "start_s": 10.0, "took_s": 20.0, "formula_s": 22.0, "simulated_s": 22.0}
    text = table({"rows": [row], "scenes": 48, "scene_s": 0.5, "repeats": 1, "machine": "M", "load_average": 6.5})
    assert "| 2 | 10.0 | 20.0 | 22.0 | 22.0 | 1.10 |" in text and "The load average of the two cores was 6.5" in text
