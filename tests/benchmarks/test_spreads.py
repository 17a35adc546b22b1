import json
from pathlib import Path

from benchmarks.spreads import markdown_table, spread_text, write_results


def test_mean_and_standard_deviation_over_seeds() -> None:
    assert spread_text([0.5, 0.7]) == ".600 ± .100"
    assert spread_text([1.0, 1.0, 1.0]) == "1.000 ± .000"


def test_one_seed_has_no_spread() -> None:
    assert spread_text([0.25]) == ".250"


def test_a_seed_without_the_figure_is_left_out() -> None:
    assert spread_text([0.25, None]) == ".250"
    assert spread_text([None, None]) == "–"


def test_a_value_that_rounds_to_one_keeps_its_digits() -> None:
    assert spread_text([0.9999]) == "1.000"
    assert spread_text([0.0004]) == ".000"
    assert spread_text([-0.25]) == "-.250"


def test_table_of_text_and_numbers() -> None:
    assert markdown_table(("a", "b"), [("x", "1")]) == "| a | b |\n| --- | --: |\n| x | 1 |"


def test_results_are_rounded_and_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "figures.json"
    write_results(path, {"seeds": (42,), "rows": {"x": [1 / 3, None, "text", True]}})
    assert json.loads(path.read_text()) == {"seeds": [42], "rows": {"x": [0.333333, None, "text", True]}}
