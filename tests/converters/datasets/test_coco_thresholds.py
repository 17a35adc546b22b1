"""What would remain of a COCO file of predictions at other thresholds."""

from pathlib import Path
from typing import Any

import pytest

from converters.datasets.coco_thresholds import (
    category_names,
    hidden_before,
    note_of,
    require_scores,
    score_counts,
    thresholds_table,
    without_hidden,
)
from converters.errors import CocoError
from converters.selection import NO_THRESHOLDS, Thresholds

FILE = Path("masks.json")


def dataset(*scores: tuple[int, Any], **more: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 4, "height": 4}],
        "categories": [{"id": 1, "name": "boat"}, {"id": 2, "name": "a long name"}, {"id": 3, "name": "sky"}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": category, "score": score}
            for number, (category, score) in enumerate(scores, start=1)
        ],
        **more,
    }


SCORES = dataset((1, 0.95), (1, 0.3), (1, 0.29), (2, 0.1), (1, 0))


def test_the_table_counts_what_has_at_least_each_score() -> None:
    rows = [line.rsplit(maxsplit=10) for line in thresholds_table(score_counts(SCORES, NO_THRESHOLDS)).splitlines()]
    assert rows[0] == ["category", "all", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"]
    assert rows[1] == ["boat", "4", "3", "3", "2", "1", "1", "1", "1", "1", "1"]
    assert rows[2] == ["a long name", "1", "1", *"00000000"]
    assert rows[3] == ["sky", *"0000000000"]


def test_thresholds_of_ones_own_are_a_column_more() -> None:
    table = thresholds_table(score_counts(SCORES, Thresholds(0.2, {"boat": 0.3, "a long name": 0})))
    assert [line.split()[-1] for line in table.splitlines()] == ["shown", "2", "1", "0"]
    assert len({len(line) for line in table.splitlines()}) == 1


def test_what_is_hidden_is_left_out_and_noted_and_images_stay() -> None:
    thresholds = Thresholds(0.2, {"boat": 0.3})
    shown, hidden = without_hidden(SCORES | {"info": {"version": "1"}}, thresholds)
    assert ([each["id"] for each in shown["annotations"]], hidden) == ([1, 2], 3)
    assert shown["images"] == SCORES["images"] and shown["categories"] == SCORES["categories"]
    assert shown["info"] == {"version": "1"} | note_of(thresholds)
    assert hidden_before(shown) == "--min-score 0.2 --threshold boat=0.3"
    assert len(SCORES["annotations"]) == 5 and "info" not in SCORES


def test_thresholds_that_hide_nothing_leave_the_file_as_it_is() -> None:
    assert without_hidden(SCORES, NO_THRESHOLDS) == (SCORES, 0)
    assert note_of(Thresholds(0.0, {"boat": 0.0})) == {}


@pytest.mark.parametrize("info", [None, [], {}, {"thresholds": 3}])
def test_files_of_others_say_nothing_of_thresholds(info: Any) -> None:
    assert hidden_before(SCORES | {"info": info}) == ""
    assert without_hidden(SCORES | {"info": info}, Thresholds(0.9))[1] == 4


def test_names_are_those_of_usable_categories() -> None:
    odd = {"categories": [{"id": 1, "name": "a"}, {"id": "2", "name": "b"}, {"id": 3}], "annotations": []}
    assert category_names(odd) == {1: "a"}


@pytest.mark.parametrize("score", [None, "0.5", 1.5, -0.1, float("nan"), True])
def test_annotations_without_a_score_are_refused(score: Any) -> None:
    with pytest.raises(
        CocoError, match=r"masks.json: expected a score from 0 to 1 in each annotation, got .* in 2: name"
    ):
        require_scores(dataset((1, 0.5), (1, score)), FILE)
    require_scores(SCORES, FILE)


@pytest.mark.parametrize("category", [9, None, "1", [1]])
def test_annotations_of_no_category_are_refused(category: Any) -> None:
    with pytest.raises(CocoError, match=r"expected a category_id of the file's categories, got .* in annotation 1"):
        require_scores(dataset((category, 0.5)), FILE)
