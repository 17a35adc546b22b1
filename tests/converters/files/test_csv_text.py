"""CSV read back by Python's own reader, and by a spreadsheet's rule for formulas."""

import csv
import io

from hypothesis import example, given
from hypothesis import strategies as st

from converters.files.csv_text import write_csv


def written(*rows: tuple[object, ...]) -> str:
    file = io.StringIO()
    write_csv(file, ("a", "b"), rows)  # type: ignore[arg-type]
    return file.getvalue()


def test_a_table_has_titles_numbers_and_empty_cells() -> None:
    assert written((1, "x"), (0.5, None), (-3, "")) == "a,b\n1,x\n0.5,\n-3,\n"


def test_text_that_a_spreadsheet_would_compute_gets_an_apostrophe() -> None:
    assert written(("=1+1", "@x"), ("-2", "+3")) == "a,b\n'=1+1,'@x\n'-2,'+3\n"


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec="utf-8")))
@example("", "\r")
@example("", "\r0")
def test_any_text_comes_back(first: str, second: str) -> None:
    text = written((first, second))
    text.encode("utf-8")
    _, row = csv.reader(io.StringIO(text, newline=""))
    assert row[1].removeprefix("'") == second.removeprefix("'")
