from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.errors import RequestError
from backend.serving.predicting.interactive import Prompt, prompt_to_mask, read_prompt
from ovdiff.segmentation import Segmentation

LABELS = ["red", "blue"]


def segmentation() -> Segmentation:
    """Return a (40, 60) segmentation: two red squares and one blue."""
    labels = np.zeros((40, 60), dtype=np.int32)
    labels[5:15, 5:15] = 1
    labels[20:30, 5:15] = 1
    labels[5:35, 30:50] = 2
    scores = np.ones(labels.shape, dtype=np.float32)
    return Segmentation(labels, scores, scores)


def point(x: float, y: float, label: str = "red", **extra: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.2, "labels": [label], "keypointlabels": [label]}
    return {"type": "keypointlabels", "to_name": "image", "origin": "manual", "value": value, **extra}


def rectangle(x: float, y: float, width: float, height: float, label: str = "red", **extra: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [label]}
    return {"type": "rectanglelabels", "to_name": "image", "origin": "manual", "value": value | extra}


def answer(region: dict[str, Any]) -> NDArray[np.bool_]:
    prompt = read_prompt({"result": [region]})
    assert prompt is not None
    return prompt_to_mask(prompt, segmentation(), LABELS)


def test_a_click_takes_the_connected_part_under_it() -> None:
    mask = answer(point(100 * 10 / 60, 25))
    assert mask.sum() == 100
    assert mask[5:15, 5:15].all()


def test_a_click_takes_one_of_two_objects_that_touch() -> None:
    found = segmentation()
    ids = np.zeros((40, 60), dtype=np.int32)
    ids[5:35, 30:40], ids[5:35, 40:50] = 1, 2  # the blue one is two objects; the red ones have no id
    told_apart = replace(found, instance_map=ids)
    blue, red = (read_prompt({"result": [point(100 * x / 60, 25)]}) for x in (45, 10))
    assert blue is not None and red is not None
    np.testing.assert_array_equal(prompt_to_mask(blue, told_apart, LABELS), ids == 2)
    assert prompt_to_mask(red, told_apart, LABELS).sum() == 100


def test_a_click_on_another_category_still_takes_the_shape() -> None:
    assert answer(point(100 * 40 / 60, 50, label="red")).sum() == 600


@pytest.mark.parametrize("region", [point(1, 1), point(100 * 10 / 60, 25, is_positive=False)])
def test_background_and_not_this_take_nothing(region: dict[str, Any]) -> None:
    assert not answer(region).any()


def test_a_click_on_the_edge_is_on_the_image() -> None:
    assert answer(point(100, 100)).shape == (40, 60)


def test_a_rectangle_takes_the_chosen_label_inside_it() -> None:
    mask = answer(rectangle(0, 0, 100, 50))
    assert mask.sum() == 100
    assert answer(rectangle(0, 0, 100, 100)).sum() == 200


def test_a_rectangle_without_the_chosen_label_takes_the_most_frequent() -> None:
    assert answer(rectangle(50, 0, 50, 100, label="red")).sum() == 600
    assert answer(rectangle(50, 0, 50, 100, label="unheard of")).sum() == 600


def test_a_rectangle_over_background_takes_nothing() -> None:
    assert not answer(rectangle(0, 90, 10, 10)).any()


def test_rotation_turns_about_the_first_corner() -> None:
    # 60 px across and 10 px down from (0, 40), turned up by 90 degrees: columns 0 to 10, all rows.
    turned = answer(rectangle(0, 100, 100, 25, rotation=-90))
    assert turned.sum() == 100
    assert turned[:, 5:10].sum() == 100


def test_the_last_region_that_somebody_drew_counts() -> None:
    predicted = rectangle(0, 0, 1, 1) | {"origin": "prediction"}
    context = {"result": [point(1, 1), point(2, 2, label="blue"), predicted]}
    prompt = read_prompt(context)
    assert prompt == Prompt("image", "blue", 2.0, 2.0, 0.0, 0.0, 0.0, is_point=True, is_positive=True)


@pytest.mark.parametrize("context", [{}, {"result": []}, {"result": None}])
def test_nothing_drawn_is_no_prompt(context: dict[str, Any]) -> None:
    assert read_prompt(context) is None


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"result": "x"}, "is no list of regions"),
        ({"result": [1]}, "is no list of regions"),
        ({"result": [{"type": "brushlabels"}]}, "a region of type 'brushlabels' cannot ask for a mask"),
        ({"result": [{"type": "keypointlabels"}]}, "lacks a place or a label"),
        ({"result": [point(float("nan"), 1)]}, "nan is no coordinate"),
    ],
)
def test_malformed_contexts_are_refused(context: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_prompt(context)
    assert message in str(caught.value)
