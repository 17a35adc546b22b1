import json
import time
from pathlib import Path

from backend.demo import steps
from backend.demo.steps import ALL_MASKS, FIRST_MASKS, Steps, process_age_s, table


def test_each_step_has_its_seconds_and_the_first_time_counts(tmp_path: Path) -> None:
    clock = iter([2.5, 40.0, 55.25, 60.0, 69.0])
    found = Steps(lambda: next(clock), load_average=0.4)
    for step in (steps.IMPORTS, steps.LABEL_STUDIO, FIRST_MASKS, FIRST_MASKS, ALL_MASKS):
        found.end(step)
    assert found.told() == "The first masks were there 55 s after the command, all of them after 69 s."
    found.write(tmp_path / "new" / "demo.json")
    results = json.loads((tmp_path / "new" / "demo.json").read_text())
    assert [(row["seconds"], row["since_command"]) for row in results["steps"]] == [
        (2.5, 2.5),
        (37.5, 40.0),
        (15.25, 55.25),
        (13.75, 69.0),
    ]
    text = table(results)
    assert "| Label Studio starts | 37.5 | 40.0 |\n| the first masks | 15.2 | 55.2 |" in text
    assert f"on {results['cores']} cores; the load average was 0.4 when" in text


def test_the_clock_runs_since_this_process_began() -> None:
    age, clock_s = process_age_s(), Steps().clock_s
    assert 0 < time.process_time() / 4 < age, "a process with some threads computes no longer than it is there"
    assert age <= clock_s() + 0.02 and clock_s() < age + 60
