import numpy as np
import pytest

from backend.serving.teaching.annotated import Scope, says_partial, to_annotation
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.records import Annotation, Region
from ovdiff.errors import LessonError
from ovdiff.vocabulary import Vocabulary

WORDS = Vocabulary(["red", "blue"])
SCOPE = Scope({"brush": "brushlabels", "ellipse": "ellipselabels"})


def region(columns: slice, *labels: str, **more: object) -> Region:
    mask = np.zeros((4, 6), np.bool_)
    mask[:, columns] = True
    return Region("r", labels, str(more.pop("control", "brush")), mask_to_coco_rle(mask), **more)  # type: ignore[arg-type]


def test_regions_become_a_label_map_by_the_rule_of_overlaps() -> None:
    made = Annotation(1, (region(slice(0, 4), "red", score=0.9), region(slice(3, 6), "blue")))
    found, contested_px = to_annotation(made, WORDS, SCOPE)
    np.testing.assert_array_equal(found.label_map, [[1, 1, 1, 2, 2, 2]] * 4)  # what a person drew wins
    assert found.complete and found.covered is None and contested_px == 4


@pytest.mark.parametrize(
    "other",
    [
        region(slice(4, 6), "blue", control="ellipse"),
        region(slice(4, 6), "blue", control="box", box_xywh=(4.0, 0.0, 2.0, 4.0)),
        region(slice(4, 6)),
    ],
)
def test_what_no_label_map_can_hold_makes_an_annotation_partial(other: Region) -> None:
    found, _ = to_annotation(Annotation(1, (region(slice(0, 2), "red"), other)), WORDS, SCOPE)
    assert not found.complete and set(np.unique(found.label_map)) == {0, 1}


def test_a_person_or_an_option_says_that_an_annotation_is_partial() -> None:
    red = (region(slice(0, 2), "red"),)
    assert says_partial(Annotation(1, red, answers={"how": ("Partial ",)}))
    assert not says_partial(Annotation(1, red, answers={"how": ("complete",)}))
    assert not to_annotation(Annotation(1, red, answers={"how": ("partial",)}), WORDS, SCOPE)[0].complete
    assert not to_annotation(Annotation(1, red), WORDS, Scope({}, partial=True))[0].complete
    assert to_annotation(Annotation(1, red), WORDS, SCOPE)[0].complete


def test_regions_of_labels_that_were_not_annotated_everywhere_are_passed_over() -> None:
    made = Annotation(1, (region(slice(0, 2), "red"), region(slice(2, 6), "blue")))
    found, _ = to_annotation(made, WORDS, Scope({}, covered=("red",)))
    assert found.complete and found.covered == ("red",) and set(np.unique(found.label_map)) == {0, 1}


def test_labels_of_another_image_of_the_task_do_not_matter() -> None:
    made = Annotation(1, (region(slice(0, 2), "red"),))
    assert to_annotation(made, WORDS, Scope({}, covered=("red", "wheel")))[0].covered == ("red",)
    with pytest.raises(LessonError, match=r"^nothing is annotated in it that has one of the labels of --labels\.$"):
        to_annotation(made, WORDS, Scope({}, covered=("wheel",)))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (Annotation(1, ()), r"nothing is annotated in it\.$"),
        (
            Annotation(1, (region(slice(0, 2)),)),
            "nothing is annotated in it, or only boxes and regions without a label",
        ),
        (Annotation(1, (region(slice(0, 2), "red"),), lost_regions=2), "2 of its regions cannot be read"),
        (Annotation(1, (region(slice(0, 2), "green"),)), "its label 'green' is not in the label config.*red, blue"),
    ],
)
def test_what_nothing_can_be_learned_from_is_refused(made: Annotation, message: str) -> None:
    with pytest.raises(LessonError, match=message):
        to_annotation(made, WORDS, SCOPE)


def test_a_region_of_a_skipped_label_may_be_anything() -> None:
    unsure = region(slice(4, 6), "unsure")
    scope = Scope({"brush": "brushlabels"}, skipped=frozenset({"unsure"}))
    found, _ = to_annotation(Annotation(1, (region(slice(0, 2), "red"), unsure)), WORDS, scope)
    assert not found.complete and set(np.unique(found.label_map)) == {0, 1}
    both, _ = to_annotation(Annotation(1, (region(slice(0, 2), "red", "unsure"),)), WORDS, scope)
    assert both.complete
    with pytest.raises(LessonError, match="its label 'unsure' is not in the label config"):
        to_annotation(Annotation(1, (unsure,)), WORDS, SCOPE)
