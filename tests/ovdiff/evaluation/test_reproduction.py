"""A result beside published figures: what counts as reproduced, and what each stage says."""

from typing import Any

import pytest

from ovdiff.engines import load_any_preset
from ovdiff.evaluation.datasets.voc import VOC21
from ovdiff.evaluation.published import PublishedFigure
from ovdiff.evaluation.reproduction import (
    Comparison,
    _category_stage,
    _image_stage,
    _preset_stage,
    compare_with_published,
    weakest,
)
from ovdiff.evaluation.result import Result
from ovdiff.presets.preset import preset_to_mapping


def result(preset: str, miou: float, images: int = 1449, **changed: Any) -> Result:
    categories = [{"name": name, "iou": iou} for name, iou in (("background", 0.9), ("dog", 0.7), ("cat", 0.5))]
    categories.append({"name": "sofa", "iou": None})
    fields = {**preset_to_mapping(load_any_preset(preset)), **changed}
    return Result(
        dataset={"name": "voc21", "counts_background": True},
        categories=(),
        preset={"name": preset, "fields": fields},
        protocol={},
        machine={},
        images=tuple(map(str, range(images))),
        failed=(),
        figures={"measures": {"miou": miou}, "categories": categories},
        seconds={},
    )


def percents(*values: float) -> tuple[PublishedFigure, ...]:
    return tuple(PublishedFigure("miou", value, "somewhere", "v1") for value in values)


@pytest.mark.parametrize(
    ("ours", "points", "reproduced"),
    [(66.0, 0.0, True), (65.0, 0.7, True), (68.1, 1.0, True), (64.0, 1.7, False), (69.0, 1.9, False)],
)
def test_between_the_published_figures_or_a_point_beside_them_is_reproduced(
    ours: float, points: float, reproduced: bool
) -> None:
    found = Comparison("miou", ours, percents(67.1, 66.3, 65.7))
    assert found.points == pytest.approx(points)
    assert found.is_reproduced == reproduced


def test_a_comparison_is_a_sentence() -> None:
    assert str(Comparison("miou", 66.0, percents(67.1, 66.3))) == (
        "miou 66.0: reproduced within 0.3 points; published: 67.1 (v1), 66.3 (v1)"
    )
    assert "miou 12.0: departs, 54.3 points below" in str(Comparison("miou", 12.0, percents(67.1, 66.3)))
    assert "departs, 12.9 points above" in str(Comparison("miou", 80.0, percents(67.1, 66.3)))


def test_a_preset_of_ones_own_is_compared_with_the_published_one_of_its_engine() -> None:
    (own,) = compare_with_published(result("paper", 0.66), VOC21)
    assert own.is_reproduced
    tiny = result("tinyworld", 0.1)
    tiny.preset["fields"]["refine"]["pamr"] = False
    (other,) = compare_with_published(tiny, VOC21)
    assert [each.percent for each in other.published] == [67.1, 66.3, 65.73]
    assert compare_with_published(result("sclip_tinyworld", 0.1), VOC21) == ()


@pytest.mark.parametrize(
    ("changed", "images", "unlike"),
    [({"prototypes": {}}, 1449, "preset"), ({}, 1448, "images"), ({"prototypes": {}}, 5, "preset and images")],
)
def test_another_preset_or_fewer_images_near_the_published_figure_reproduce_nothing(
    changed: dict[str, Any], images: int, unlike: str
) -> None:
    (found,) = compare_with_published(result("paper", 0.66, images, **changed), VOC21)
    assert not found.is_reproduced
    assert "reproduced within" not in str(found)
    assert str(found).startswith(
        "miou 66.0: near the published figures, but no reproduction, because these are not as published: "
        f"{unlike}; published: 67.1 (v1)"
    )


def test_the_preset_stage_names_the_fields_that_differ() -> None:
    assert _preset_stage(result("paper", 0.6)).departs is False
    stage = _preset_stage(result("tinyworld", 0.6))
    assert stage.departs
    assert "fields differ from 'paper': models." in stage.finding
    assert "more" in stage.finding
    assert _preset_stage(result("naclip", 0.6)).departs is False
    assert _preset_stage(result("sclip_tinyworld", 0.6)).departs is None
    with_pamr = result("paper", 0.6)
    with_pamr.preset["fields"]["refine"]["pamr"] = True
    assert _preset_stage(with_pamr).departs is False, "figures with PAMR are published too"


def test_the_image_and_category_stages_say_what_is_otherwise() -> None:
    assert _image_stage(VOC21, result("paper", 0.6)).departs is False
    short = _image_stage(VOC21, result("paper", 0.6, images=2))
    assert short.departs
    assert short.finding == "2 images were evaluated; the published split has 1449"
    stage = _category_stage(result("paper", 0.6))
    assert stage.departs
    assert stage.finding == (
        "mean of the 2 classes without background 60.0, published 64.6 (released code run again); "
        "lowest: cat 50, dog 70"
    )
    assert weakest(result("paper", 0.6), 1) == ("cat",)
