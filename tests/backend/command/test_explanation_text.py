"""An explanation in words and tables."""

from dataclasses import replace

from backend.command.explanation_text import explanation_text, stage_rows, verdict
from ovdiff.explaining.explanation import Explanation, Stage
from tests.fakes.explanations import explanation


def test_the_verdict_names_votes_changes_and_the_prefilter() -> None:
    assert verdict(explanation()) == (
        "By 2 votes boat has 0.700, and fox (an anchor) 0.600: a lead of 0.100. After the votes, part check made it "
        "background. The prefilter had removed car, which would have won by votes."
    )


def _quiet(found: Explanation) -> Explanation:
    return replace(found, removed=(), stages=(found.stages[0], replace(found.stages[1], share=0.8)), part=None)


def test_a_label_that_nothing_changed_and_a_region_with_several_labels() -> None:
    text = verdict(_quiet(explanation()))
    assert "No later step changed the label." in text and "80% of the place have this label." in text


def test_an_anchor_that_wins_is_said_to_be_background() -> None:
    text = verdict(replace(_quiet(explanation()), winner=2, runner_up=1))
    assert "fox (an anchor) has 0.600, and boat 0.700" in text
    assert "0.100 behind, but background and anchors are one" in text
    assert "Nobody asked for fox, so where it wins there is background." in text


def test_without_a_rival_there_is_no_lead() -> None:
    assert verdict(replace(_quiet(explanation()), runner_up=None)).startswith("Nothing but boat competed")


def test_every_table_is_there_with_its_figures() -> None:
    text = explanation_text(explanation())
    lines = text.splitlines()
    assert "clip       1      50%     0.800  0.600  +0.100" in lines
    assert any(line.startswith("sd    10,0 10x10") and "image 3 of boat (75%)" in line for line in lines)
    short = "its cosine with the image is 0.200, and the average caption has 0.250 (0.050 short)"
    assert f"  car: {short}; it would have won here, with a score of 0.900." in lines
    assert "part 12 of boat  clip       support image 3 (50%), 0 (50%)" in lines
    assert "In this part of the image, boat by its pixels, CLIP saw fox 80%, boat 10%." in lines
    assert any("They were removed." in line for line in lines)


def test_steps_that_see_labels_alone_have_no_scores() -> None:
    found = replace(explanation(), stages=(*explanation().stages, Stage("holes", 1, 1.0, 1.0, ())))
    assert stage_rows(found)[-1] == ("holes", "boat", "100%", "", "")


def test_many_removed_categories_are_counted() -> None:
    found = replace(explanation(), removed=explanation().removed * 4)
    assert "... and 3 more, with lower scores at this place." in explanation_text(found)
