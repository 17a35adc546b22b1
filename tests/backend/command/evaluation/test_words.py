"""The figures of an evaluation in words."""

from dataclasses import replace

import pytest

from backend.command.evaluation.words import (
    CATEGORY_COLUMNS,
    bin_rows,
    category_rows,
    confusion_rows,
    measure_rows,
    origin_rows,
    scope_sentence,
    seconds_rows,
    setting_rows,
    word_rows,
)
from ovdiff.engines import load_any_preset
from ovdiff.evaluation.datasets.voc import VOC21
from ovdiff.evaluation.result import Result
from ovdiff.presets.preset import preset_to_mapping


def test_the_scope_says_what_is_missing_and_why(result: Result) -> None:
    assert scope_sentence(result) == ("The figures are of 12 of 13 images. 1 image could not be evaluated.")
    assert scope_sentence(replace(result, failed=(), dataset={**result.dataset, "images": 12})) == (
        "The figures are of all 12 images."
    )
    limited = scope_sentence(replace(result, failed=(), dataset={**result.dataset, "images": 1449}))
    assert limited == (
        "The figures are of 12 of 1 449 images. 1 437 were not evaluated: the run was limited or interrupted, and can "
        "be continued."
    )


def test_measures_have_mious_range_first_and_leave_out_what_nothing_says(result: Result) -> None:
    rows = {name: value for name, value, _published in measure_rows(result)}
    low, high = result.measures["miou_interval"]
    assert rows["mIoU"] == f"{result.measures['miou']:.3f} ({low:.2f} to {high:.2f})"
    low, high = result.measures["intervals"]["pq"]
    assert rows["PQ"] == f"{result.measures['pq']:.3f} ({low:.2f} to {high:.2f})"
    assert rows["AP"] == f"{result.measures['ap']:.3f}", "a ranking of everything has no range"
    assert "PQ of stuff" not in rows, "the squares are things"


def test_rates_of_words_have_ranges_and_results_of_earlier_versions_have_none(result: Result) -> None:
    (row, _) = word_rows(result)
    low, high = result.measures["word_intervals"]["all"]["present painted"]
    share = result.measures["words"]["all"]["present painted"]
    assert row[1] == f"{100 * share:.1f} % ({100 * low:.1f} to {100 * high:.1f})" and row[5].count("(") == 1
    earlier = {key: value for key, value in result.measures.items() if not key.endswith("intervals")}
    old = replace(result, figures={**result.figures, "measures": earlier})
    (row, _) = word_rows(old)
    assert row[1] == f"{100 * share:.1f} %"
    rows = {name: value for name, value, _published in measure_rows(old)}
    assert " to " in rows["mIoU"] and " to " not in rows["PQ"]


def test_a_published_figure_stands_beside_its_measure(result: Result) -> None:
    paper = preset_to_mapping(load_any_preset("paper"))
    fields = {**paper, "refine": {**paper["refine"], "pamr": True}}
    asked = tuple({"name": each.name, "prompts": list(each.phrases)} for each in VOC21.categories)
    images = tuple(map(str, range(1449)))
    whole = replace(
        result, dataset={"name": "voc21"}, categories=asked, preset={**result.preset, "fields": fields}, images=images
    )
    rows = {row[0]: row[2] for row in measure_rows(whole)}
    assert rows["mIoU"].startswith("69.0 (v1)")
    assert rows["PQ"] == "–"
    assert {row[2] for row in measure_rows(replace(whole, images=images[:12]))} == {"–"}, "a part was not published"


def test_a_category_has_a_cell_in_each_column(result: Result) -> None:
    rows = list(category_rows(result))
    assert [row[0] for row in rows] == ["background", "red", "green", "blue"]
    assert {len(row) for row in rows} == {len(CATEGORY_COLUMNS)}
    assert rows[1][-1].startswith("background (")


def test_the_largest_confusions_come_first(result: Result) -> None:
    confusion = [[5, 1, 0, 0], [7, 3, 2, 0], [0, 0, 4, 0], [0, 0, 0, 0]]
    made = replace(result, figures={**result.figures, "confusion": confusion})
    assert confusion_rows(made, 2) == [("red", "background", "7", "58.3 %"), ("red", "green", "2", "16.7 %")]
    assert len(confusion_rows(made, 9)) == 3


def test_seconds_end_with_their_sum(result: Result) -> None:
    made = replace(result, seconds={"read": 0.25, "segment": 0.75, "objects": 0.0})
    assert seconds_rows(made) == [
        ("read", "0.250", "25.0 %"),
        ("segment", "0.750", "75.0 %"),
        ("together", "1.000", "100.0 %"),
    ]
    assert seconds_rows(replace(result, seconds={})) == []


def test_words_bins_and_settings(result: Result) -> None:
    assert [row[0] for row in word_rows(result)] == ["all", "2, drawn at random"]
    assert [row[0] for row in bin_rows(result)] == ["0.7 to 0.8"]
    assert dict(setting_rows({"a": {"b": 1, "c": {"d": (2,)}}, "e": "x"})) == {"a.b": "1", "a.c.d": "(2,)", "e": "x"}


@pytest.mark.parametrize("what", ["preset", "fingerprint", "machine", "versions", "background", "small vocabularies"])
def test_the_origin_says_what_it_was_made_with(result: Result, what: str) -> None:
    assert dict(origin_rows(result))[what]
