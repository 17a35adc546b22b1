import json

from benchmarks.scale_plans import OUT, caching_table, plans, plans_table
from benchmarks.spreads import _rounded


def test_the_page_s_plans_are_what_the_command_says() -> None:
    assert json.loads(OUT.read_text("utf-8")) == json.loads(json.dumps(_rounded(plans())))


def test_what_was_not_measured_is_marked_in_every_row() -> None:
    results = json.loads(OUT.read_text("utf-8"))
    rows = [line for table in (plans_table(results), caching_table(results)) for line in table.splitlines()]
    rows = [line for line in rows if line.startswith("| `")]
    assert len(rows) > 15 and all("~" in line for line in rows)
