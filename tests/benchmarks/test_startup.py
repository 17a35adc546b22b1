from pathlib import Path

import pytest

from benchmarks import startup
from benchmarks.startup import measure, seconds_of_steps, table


def test_each_step_is_timed_in_a_fresh_process_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "quick.py").write_text("import sys\nassert 'torch' not in sys.modules\n")
    (tmp_path / "busy.py").write_text("sum(range(5_000_000))\n")
    monkeypatch.setattr(startup, "STEPS", {"a quick one": "import quick", "a busy one": "import busy"})
    quick, busy = seconds_of_steps(tmp_path)
    assert quick > 0 and 0.02 < busy < 2
    found = measure({"before": tmp_path, "now": tmp_path}, 1)
    assert list(found["seconds"]) == ["before", "now"] and len(found["seconds"]["now"]) == 2


def test_the_table_has_the_sum_and_how_busy_the_machine_was() -> None:
    results = {"steps": ["a", "b"], "seconds": {"before": [1.0, 2.5], "now": [1.0, 0.5]}, "repeats": 3}
    text = table({**results, "load_average": 7.5})
    assert "| all | 3.50 | 1.50 |" in text and "load average of the two cores was 7.5" in text
