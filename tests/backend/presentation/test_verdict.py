"""The verdict on a place, and the table of its steps."""

from dataclasses import replace

from backend.presentation.verdict import clip_sentence, lost_sentence, removal_sentences, stage_rows, verdict
from ovdiff.explaining.explanation import Explanation, Rival, Stage
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


def test_steps_that_see_labels_alone_have_no_scores() -> None:
    found = replace(explanation(), stages=(*explanation().stages, Stage("holes", 1, 1.0, 1.0, ())))
    assert stage_rows(found)[-1] == ("holes", "boat", "100%", "", "")


def test_removed_categories_are_told_with_the_figures_and_the_many_are_counted() -> None:
    told = removal_sentences(explanation())
    short = "its cosine with the image is 0.200, and the average caption has 0.250 (0.050 short)"
    assert told[0] == f"car: {short}; it would have won here, with a score of 0.900."
    many = removal_sentences(replace(explanation(), removed=explanation().removed * 4))
    assert len(many) == 6
    assert many[-1] == "... and 3 more, with lower scores at this place."


def test_what_clip_saw_is_a_sentence() -> None:
    part = explanation().part
    assert part is not None
    assert clip_sentence(part) == "In this part of the image, boat by its pixels, CLIP saw fox 80%, boat 10%."


def test_what_should_have_the_place_is_told_unless_the_verdict_tells_it() -> None:
    found = explanation()
    assert lost_sentence(found, "boat") == ""
    other = replace(found, rivals=(*found.rivals, Rival("rock", 3, False, 0.45)))
    assert lost_sentence(other, "rock") == "rock itself has 0.450, 0.250 behind boat."
    assert lost_sentence(found, "ship").startswith("The prefilter had removed ship: the best caption with it")
    assert lost_sentence(found, "unheard of") == ""
