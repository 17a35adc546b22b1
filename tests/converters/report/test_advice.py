"""Advice on made-up corrections, for which a person would say the same."""

from dataclasses import replace
from itertools import count

import numpy as np

from converters.corrections.result import CorrectionReport
from converters.records import ImageRecord, Region
from converters.report.advice import what_to_do
from tests.fakes.corrections import box, corrected, region, scores_of

LEFT, MORE, RIGHT, WHOLE = box(0, 0, 6, 4), box(0, 0, 6, 5), box(0, 5, 6, 8), box(0, 0, 6, 8)
Case = tuple[list[Region], list[Region]]

GOOD: Case = ([region("a", LEFT, score=0.8)], [region("a", LEFT)])
MISSED: Case = ([region("a", LEFT, score=0.8)], [region("a", LEFT), region("b", RIGHT, "dog")])
NOT_THERE: Case = ([region("a", LEFT, score=0.8), region("b", RIGHT, "dog", score=0.2)], [region("a", LEFT)])
RELABELLED: Case = ([region("a", LEFT, "dog")], [region("a", LEFT, "cat")])
REDRAWN: Case = ([region("a", LEFT)], [region("a", box(0, 2, 6, 8))])
TOUCHED_UP: Case = ([region("a", WHOLE)], [region("a", WHOLE & ~box(0, 0, 1, 1))])
SPLIT: Case = ([region("a", WHOLE)], [region("a", LEFT), region("b", RIGHT)])
MERGED: Case = (SPLIT[1], SPLIT[0])


def records(*cases: tuple[int, Case], **more: object) -> list[ImageRecord]:
    numbers = count(1)
    return [corrected(*case, task_id=next(numbers), **more) for times, case in cases for _ in range(times)]


def report(*cases: tuple[int, Case]) -> CorrectionReport:
    return scores_of(*records(*cases)).report("x")


def first(*cases: tuple[int, Case]) -> str:
    return what_to_do(report(*cases))[0].sentence


def said(found: CorrectionReport) -> str:
    return "\n".join(advice.sentence for advice in what_to_do(found))


def test_there_are_always_three_sentences() -> None:
    for found in (report((1, ([], []))), report((1, GOOD)), report((50, GOOD)), report((50, MISSED), (20, SPLIT))):
        sentences = [advice.sentence for advice in what_to_do(found)]
        assert len(set(sentences)) == 3
        assert all(sentence.endswith(".") and ": " in sentence for sentence in sentences)


def test_few_regions_ask_for_more_before_anything_else() -> None:
    assert first((5, MISSED)) == (
        "Correct more images before you change anything: 10 regions cannot tell a habit from chance, 30 "
        "are a beginning."
    )
    assert "Correct more images" not in first((30, GOOD))


def test_a_label_that_is_missed_gets_other_phrases() -> None:
    assert first((40, MISSED), (4, REDRAWN)) == (
        "Help the model to find “dog”: all its 40 repairs (91 % of all repairs are its own) were regions that it had "
        'missed, so give the label more or other phrases (prompts="..." in the label config) and predict anew.'
    )


def test_a_label_that_is_seen_where_it_is_not_gets_an_exact_phrase() -> None:
    found = report((40, NOT_THERE))
    assert "Keep the model from seeing “dog” where there is none: all its 40 repairs" in said(found)
    assert "Hide predicted regions with a score below 0.3: none of these 40 were worth correcting" in said(found)
    assert 'OVDIFF_MIN_SCORE=0.3 hides them in the backend, threshold="0.3" in the label config those' in said(found)


def test_labels_that_are_taken_for_one_another_get_a_rule() -> None:
    assert first((30, RELABELLED), (5, GOOD)).startswith(
        "Agree on where “dog” ends and “cat” begins: all its 30 repairs (100 % of all repairs are its own) gave a "
        "region another label"
    )


def test_outlines_are_told_apart_by_how_far_they_are_off() -> None:
    assert first((40, TOUCHED_UP)).startswith("Say how exact an outline of “cat” has to be: all its 40 repairs")
    assert "although predictions and annotations agree to an IoU of 0.979." in first((40, TOUCHED_UP))
    assert first((40, REDRAWN)).startswith(
        "Tell people to draw “cat” anew where less than half of a prediction is right"
    )


def test_splits_and_merges_ask_what_one_region_is() -> None:
    assert first((20, SPLIT), (10, MERGED), (10, GOOD)).startswith(
        "Say in the instructions whether “cat” that touch each other are one region or several: people split 20 "
        "predicted regions into several and merged several into one 10 times, which is all its 60 repairs"
    )


def test_scores_that_can_be_trusted_save_looks() -> None:
    found = report((60, GOOD))
    assert what_to_do(found)[0].sentence == (
        "Look at predicted regions with a score of 0.8 or more last, or at samples of them: people accepted "
        "100 % (94 to 100 %) of 60 as they were."
    )
    assert "Go on as you do: people accepted 100 % (94 to 100 %) of 60 predicted regions as they were." in said(found)


def test_nobody_is_told_to_go_on_where_most_predictions_were_wrong() -> None:
    found = said(report((30, RELABELLED), (6, GOOD)))
    assert "Go on as you do" not in found
    assert (
        "Have ten tasks drawn without predictions, and compare the times: people accepted only 17 % (8 to 32 %) of 36 "
        "predicted regions as they were."
    ) in found


UNSCORED: Case = ([region("a", LEFT)], [region("a", LEFT)])
FEW_DOGS: Case = ([region("d", LEFT, "dog")], [region("d", box(0, 2, 6, 8), "dog")])


def test_labels_with_a_low_iou_are_named_although_their_regions_are_few() -> None:
    found = said(report((40, UNSCORED), (2, FEW_DOGS)))
    assert "no other figure stands out" not in found
    assert (
        "Look at the categories one by one: the IoU is lowest for “dog” (0.250, of 2 regions, which are too few to "
        "say)."
    ) in found
    assert "each label's IoU is 0.850 or more, so none stands out by itself" in said(report((1, GOOD)))
    assert "no label has been predicted or annotated so far" in said(report((1, ([], []))))
    assert "“cat” (0.786, of 48 regions)" in said(report((40, UNSCORED), (8, REDRAWN)))


def of_people(strict: int, lenient: int, *, each: int) -> CorrectionReport:
    """Return a report on two people of whom one accepts `strict` regions of `each`, the other `lenient`."""
    cases = [
        *records((strict, GOOD), (each - strict, TOUCHED_UP), annotator="strict@x"),
        *records((lenient, GOOD), (each - lenient, TOUCHED_UP), annotator="lenient@x"),
    ]
    return scores_of(*cases).report("x")


def test_people_who_differ_more_than_by_chance_compare_their_work() -> None:
    assert (
        "Let strict@x and lenient@x correct the same ten tasks and compare them: the first accepted 20 % (10 to 35 %) "
        "of 40 predicted regions as they were, the second 90 % (77 to 96 %) of 40."
    ) in said(of_people(8, 36, each=40))
    assert "strict@x" not in said(of_people(18, 24, each=40))  # chance
    assert "strict@x" not in said(of_people(1, 8, each=8))  # few


def test_small_objects_that_are_missed_are_looked_for() -> None:
    def square(name: str, top: int, side: int) -> Region:
        mask = np.zeros((128, 128), dtype=np.bool_)
        mask[top : top + side, :side] = True
        return region(name, mask)

    small, large = square("s", 0, 10), square("l", 20, 100)
    one = replace(corrected([large], [large, small]), size_hw=(128, 128))
    found = scores_of(*[replace(one, task_id=number) for number in range(30)]).report("x")
    assert (
        "Ask people to look for small objects (below 32 x 32 pixels): the model found 0 % (0 to 11 %) of 30, and 100 % "
        "(89 to 100 %) of the 30 larger ones."
    ) in said(found)
    other = replace(one, annotations=corrected([large], [small]).annotations)
    assert "small objects" not in said(scores_of(*[replace(other, task_id=n) for n in range(30)]).report("x"))


def timed(corrected_s: float, scratch_s: float) -> CorrectionReport:
    alone = [
        replace(record, annotations=(replace(record.annotations[0], parent_prediction=None),), predictions=())
        for record in records((15, ([], [region("z", LEFT)])), lead_time_s=scratch_s)
    ]
    return scores_of(*records((60, GOOD), lead_time_s=corrected_s), *alone).report("x")


def test_predictions_that_cost_more_time_than_they_save_are_left_away() -> None:
    assert said(timed(50.0, 30.0)).startswith(
        "Let people begin without predictions until these are better: correcting one takes 50.0 s and drawing "
        "everything 30.0 s (medians of 60 and 15 annotations)."
    )
    assert "Keep giving people predictions: correcting one takes 10.0 s" in said(timed(10.0, 30.0))


def test_the_worst_image_is_named_and_can_be_linked() -> None:
    found = report((60, GOOD), (1, REDRAWN))
    (advice,) = [advice for advice in what_to_do(found) if advice.image is not None]
    assert advice.sentence == (
        "Open task 61 to see what goes wrong: there the prediction agrees least with the annotation (mean IoU 0.250)."
    )
    assert advice.image == found.worst[0]
