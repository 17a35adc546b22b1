"""The report as JSON: its fields under their names, numbers that JSON can hold, and null where nothing is known."""

import json

from converters.corrections.result import SCHEMA, report_to_json
from converters.files.output import json_text
from tests.fakes.corrections import corrected, scores_of, scores_of_two_versions


def test_the_json_holds_the_report_under_its_names() -> None:
    report = scores_of_two_versions().report("export.json")
    loaded = json.loads(json_text(report_to_json(report)))  # which refuses NaN
    assert loaded["schema"] == SCHEMA
    assert list(loaded) == [
        "schema", "source", "counts", "quality", "regions", "pixels", "median_changed_share", "categories",
        "sizes", "annotators", "confusion", "reliability", "threshold", "versions", "seconds", "worst",
    ]  # fmt: skip
    assert loaded["regions"] == {
        "accepted": 1, "changed": 1, "relabelled": 0, "added": 1, "removed": 0, "accepted_share": 0.5,
            "splits": 0, "merges": 0,
    }  # fmt: skip
    assert loaded["pixels"]["changed_share"] == (6 + 18) / (24 + 18 + 18)
    assert loaded["categories"][1]["iou"] == 0.0
    assert loaded["seconds"]["from_scratch"] == {"annotations": 0, "median": None, "mean": None, "total": 0}
    assert loaded["confusion"] == {
        "labels": ["background", "cat", "dog"],
        "pixels": [[36, 0, 0], [6, 36, 0], [18, 0, 0]],
    }


def test_what_cannot_be_known_is_null() -> None:
    loaded = json.loads(json_text(report_to_json(scores_of(corrected([], [])).report("x"))))
    assert loaded["regions"]["accepted_share"] is loaded["median_changed_share"] is None
    assert loaded["quality"]["panoptic_quality"] is loaded["reliability"]["iou_error"] is None
