"""Every test that the page about faults names is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/faults.md").read_text("utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
TEST = re.compile(r"(tests/[\w/]+\.py)::(test_\w+)")


def test_each_row_names_a_test_that_exists() -> None:
    rows = [line for line in ROWS if not line.endswith("| test |")]
    assert len(rows) > 60
    for row in rows:
        (named,) = TEST.findall(row.split("|")[-2])
        assert named[1] in _tests_in(ROOT / named[0]), row


def _tests_in(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)}


def test_no_test_stands_for_two_faults() -> None:
    named = TEST.findall(PAGE)
    assert len(named) == len(set(named))
