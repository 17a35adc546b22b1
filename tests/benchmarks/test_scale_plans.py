import json
import re
import shlex
from pathlib import Path

import pytest

from backend.command import cli
from benchmarks.scale_plans import OUT, caching_table, plans, plans_table
from benchmarks.spreads import _rounded


def test_the_page_s_plans_are_what_the_command_says() -> None:
    assert json.loads(OUT.read_text("utf-8")) == json.loads(json.dumps(_rounded(plans())))


def test_the_command_on_top_of_the_page_prints_the_page_s_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path))
    page = (OUT.parents[2] / "docs" / "scale.md").read_text("utf-8")
    command, *_ = re.findall(r"^ovdiff (plan .+)$", page, re.MULTILINE)
    assert cli.main(shlex.split(command)) == 0
    printed = capsys.readouterr().out
    rows = [
        [cell.strip() for cell in line.split("|")[2:-1]] for line in page.splitlines() if line.startswith("| `fast` |")
    ]
    shown = [(gpus, time, waits_for) for gpus, time, _hours, _rate, waits_for in rows[:4]]
    assert shown[3][0] == "1,024"
    for gpus, time, waits_for in shown:
        assert re.search(rf"^ *{gpus}  +{re.escape(time)}  .*  {waits_for}$", printed, re.MULTILINE), (gpus, time)


def test_what_was_not_measured_is_marked_in_every_row() -> None:
    results = json.loads(OUT.read_text("utf-8"))
    rows = [line for table in (plans_table(results), caching_table(results)) for line in table.splitlines()]
    rows = [line for line in rows if line.startswith("| `")]
    assert len(rows) > 15 and all("~" in line for line in rows)
