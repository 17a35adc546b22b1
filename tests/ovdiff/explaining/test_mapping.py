"""An explanation as JSON: everything that adds up still does, and images have the numbers that people know."""

import json
from dataclasses import replace

import pytest

from ovdiff.explaining.mapping import explanation_to_mapping
from tests.fakes.explanations import explanation, taught


def test_the_mapping_is_json_whose_figures_add_up() -> None:
    found = json.loads(json.dumps(explanation_to_mapping(explanation())))
    assert (found["label"], found["winner"], found["runner_up"], found["pixels"]) == ("background", "boat", "fox", 1)
    for rival in found["rivals"]:
        total = sum(vote["weight"] * vote["scores"][rival["name"]] for vote in found["votes"])
        assert total == pytest.approx(rival["score"])
    assert [rival["asked"] for rival in found["rivals"]] == [True, True, False]
    for vote in found["votes"]:
        for name, finalist in vote["finalists"].items():
            parts = [nearest["share"] * nearest["cosine"] for nearest in finalist["nearest"]]
            assert sum(parts) == pytest.approx(vote["scores"][name])
    assert sum(vote["lead"] for vote in found["votes"]) == pytest.approx(0.1)
    assert [stage["label"] for stage in found["stages"]] == ["boat", "boat", "background"]


def test_support_images_have_the_numbers_that_people_know() -> None:
    part, instance, fox = explanation_to_mapping(explanation())["prototypes"]
    assert [place["image"] for place in part["images"]] == [3, 0]
    assert part["images"][0] == {"image": 3, "seed": 7, "share_of_image": 0.5}
    assert instance["title"] == "image 3 of boat" and part["title"] == "part 12 of boat"
    assert fox["images"] == [] and "They were removed." in fox["missing"]


def test_what_the_prefilter_removed_and_what_clip_saw_are_told() -> None:
    found = explanation_to_mapping(explanation())
    assert found["prefilter_removed"][0]["would_have_won"] and not found["prefilter_removed"][1]["would_have_won"]
    assert found["prefilter_removed"][0]["short_by"] == pytest.approx(0.05)
    assert found["clip_saw"] == {"by_pixels": "boat", "became": None, "shares": {"fox": 0.8, "boat": 0.1}}


def test_what_lessons_say_is_told_with_sources() -> None:
    assert explanation_to_mapping(explanation())["lessons"] is None
    found = json.loads(json.dumps(explanation_to_mapping(replace(explanation(), taught=taught()))))["lessons"]
    assert (found["lessons"], found["cosine_per_nat"]) == (3, 0.086)
    assert [(group["name"], group["share"], group["competes"]) for group in found["groups"]] == [
        ("background", 0.03, True),
        ("things", 0.97, True),
    ]
    clip, sd = found["extractors"]
    assert clip["shares"] == {"background": 0.03, "things": 0.97} and clip["why_not"] == ""
    assert (sd["used"], sd["right_without"], sd["right_with"], sd["shares"]) == (False, 0.8, 0.7, None)
    assert {name: found["most_alike"][0][name] for name in ("word", "cosine", "task", "person")} == {
        "word": "boat",
        "cosine": 0.93,
        "task": "12",
        "person": "ann",
    }
    assert found["clip_would_have_seen"] == {"boat": 0.6, "fox": 0.3}
