import json
import re
from pathlib import Path

import pytest

from benchmarks import measured_tables
from benchmarks.measured_tables import (
    ELSEWHERE,
    PAGES,
    ROOT,
    TABLES,
    UnknownTableError,
    differences,
    filled,
    main,
    not_measured,
)

PAGE = "Before.\n\n<!-- measured: two -->\n\n| 1 |\n\n<!-- end of measured -->\n\nAfter. <!-- a comment -->\n"
TWO = {"two": ("two.json", lambda results: f"| {results['two']} |")}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "two.json").write_text(json.dumps({"two": 2}))
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_of_the_pages_are_what_was_measured(page: str) -> None:
    assert differences(ROOT / page) == []


def test_a_table_is_made_from_its_figures_and_nothing_else_is_touched(results: Path) -> None:
    assert filled(PAGE, results, TWO) == PAGE.replace("| 1 |", "| 2 |")


def test_a_page_that_is_filled_stays_as_it_is(results: Path) -> None:
    once = filled(PAGE, results, TWO)
    assert filled(once, results, TWO) == once


def test_two_tables_of_a_page_are_told_apart(results: Path) -> None:
    assert filled(PAGE + PAGE, results, TWO) == 2 * PAGE.replace("| 1 |", "| 2 |")


def test_a_table_that_nobody_makes_is_an_error(results: Path) -> None:
    with pytest.raises(UnknownTableError, match="no measured table 'three'; there are two"):
        filled(PAGE.replace(": two", ": three"), results, TWO)


def test_figures_that_are_missing_are_said_to_be(tmp_path: Path) -> None:
    assert filled(PAGE, tmp_path, TWO) == PAGE.replace("| 1 |", not_measured("two.json"))


def test_missing_figures_name_the_command_that_makes_them() -> None:
    assert not_measured("baselines.json") == "*Not measured yet with these weights: `make measure` does it.*"
    assert "`make demo-loop` does it" in not_measured("demo-loop.json")


def test_make_measure_makes_the_figures_of_every_table_that_no_other_command_makes() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    recipe = re.search(r"^measure:.*\n((?:\t.*\n| .*\n)+)", makefile, re.MULTILINE)
    assert recipe is not None
    for file in {file for file, _make in TABLES.values()}:
        assert (f"$(RESULTS)/{file}" in recipe[1]) is (file not in ELSEWHERE), file
    lines = recipe[1].splitlines()
    order = [next(i for i, line in enumerate(lines) if f").{name}" in line) for name in _ONE_AFTER_THE_OTHER]
    assert order == sorted(order)


_ONE_AFTER_THE_OTHER = ("host_cost", "stage_costs", "scale_plans", "measured_tables")  # each reads what the last wrote


@pytest.fixture
def site(results: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one page, which is out of date."""
    (results / "page.md").write_text(PAGE)
    for name, value in {"ROOT": results, "PAGES": ("page.md",)}.items():
        monkeypatch.setattr(measured_tables, name, value)
    monkeypatch.setattr(measured_tables, "filled", lambda page: filled(page, results, TWO))
    return results / "page.md"


def test_the_check_fails_and_writes_nothing(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["measured_tables", "--check"])
    printed: list[str] = []
    with pytest.raises(SystemExit, match="not what the figures say"):
        main(printed.append)
    assert "-| 1 |\n+| 2 |" in printed[0]
    assert site.read_text() == PAGE


def test_the_command_writes_the_tables(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["measured_tables"])
    main(lambda _text: None)
    assert "| 2 |" in site.read_text()
    assert differences(site) == []
