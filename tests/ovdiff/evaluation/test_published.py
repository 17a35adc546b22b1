"""Published figures: each has a source, belongs to a preset and a dataset, and is found by both."""

import tomllib
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest

from ovdiff.engines import load_any_preset
from ovdiff.engines.contract import WithoutBackground
from ovdiff.evaluation.datasets.voc import VOC21
from ovdiff.evaluation.published import (
    ablated_rows,
    differing_fields,
    published_ablation,
    published_beside,
    published_figures,
    published_text,
)
from ovdiff.evaluation.result import Result
from ovdiff.presets.files import preset_names
from ovdiff.presets.preset import preset_to_mapping


def fields(name: str, *, pamr: bool | None = None) -> dict[str, Any]:
    mapping = preset_to_mapping(load_any_preset(name))
    return mapping if pamr is None else {**mapping, "refine": {**mapping["refine"], "pamr": pamr}}


@pytest.mark.parametrize(
    ("dataset", "preset", "pamr", "says"),
    [
        ("voc21", "paper", None, "67.1 (v1), 66.3 (ECCV, quoted), 65.7 (released code run again)"),
        ("context60", "paper", None, "30.1 (v1), 29.7 (ECCV, quoted)"),
        ("coco-object", "paper", None, "34.8 (v1), 34.6 (ECCV, quoted)"),
        ("cityscapes", "paper", None, "23.4 (ECCV, quoted)"),
        ("voc21", "paper", True, "69.0 (v1)"),
        ("voc21", "naclip", None, "58.9 (repository)"),
        ("voc21", "naclip", True, "64.1 (repository)"),
        ("ade20k", "odise", None, "29.9 (label head), 28.7 (caption head)"),
        ("voc21", "fast", None, ""),
        ("drawn", "paper", None, ""),
    ],
)
def test_figures_are_found_by_dataset_and_preset(dataset: str, preset: str, pamr: bool | None, says: str) -> None:
    assert published_text(dataset, fields(preset, pamr=pamr)) == says


@pytest.mark.parametrize("dataset", ["voc21", "cityscapes"])
def test_a_changed_preset_of_the_name_is_not_what_was_published(dataset: str) -> None:
    assert published_text(dataset, {**fields("paper"), "cache": {"images": 3}, "memory": {}})
    paper = fields("paper")
    changed = {**paper, "prototypes": {**paper["prototypes"], "parts": 7}}
    assert published_text(dataset, changed) == ""
    assert differing_fields(dataset, changed, "paper") == ["prototypes.parts"]


def test_without_background_is_as_published_where_the_dataset_has_none() -> None:
    for name in ("paper", "naclip", "odise"):
        preset = load_any_preset(name)
        assert isinstance(preset, WithoutBackground)
        without = preset_to_mapping(preset.without_background())
        assert published_text("ade20k", without) == published_text("ade20k", fields(name)) != ""
        assert published_text("voc21", without) == ("" if name != "odise" else published_text("voc21", fields(name)))


def whole_result() -> Result:
    """Return a result of the paper's preset on the whole of VOC21, without figures."""
    asked = tuple({"name": each.name, "prompts": list(each.phrases)} for each in VOC21.categories)
    images = tuple(map(str, range(1449)))
    return Result({"name": "voc21"}, asked, {"fields": fields("paper")}, {}, {}, images, (), {}, {})


def test_a_part_of_a_split_and_other_words_are_not_what_was_published() -> None:
    result = whole_result()
    assert published_beside(result) == "67.1 (v1), 66.3 (ECCV, quoted), 65.7 (released code run again)"
    assert published_beside(replace(result, images=result.images[:-1])) == ""
    plain = tuple({**each, "prompts": [each["name"]]} for each in result.categories)
    assert published_beside(replace(result, categories=plain)) == ""
    assert published_beside(replace(result, dataset={"name": "voc21 (own)"})) == ""


def test_other_measures_are_told_apart() -> None:
    assert published_text("coco-panoptic", fields("odise"), "pq") == "55.4 (label head), 45.6 (caption head)"
    assert published_text("voc21", fields("paper"), "miou_without_background") == "64.6 (released code run again)"
    (first, *_) = published_figures("voc21", fields("paper"))
    assert (first.spread, first.source) == (0.5, "the paper's first version, arXiv 2306.09316 v1")


def test_an_ablation_is_found_by_its_row() -> None:
    full, without = (published_ablation(row, "voc21") for row in ("paper", "paper-no-background"))
    assert full is not None
    assert without is not None
    assert without.percent - full.percent == pytest.approx(-10.0)
    assert published_ablation("paper-no-stuff-filter", "voc21") is None
    assert published_ablation("full", "voc21") is None
    assert "paper-k-32" in ablated_rows()


def test_every_table_names_a_packaged_preset_and_a_source() -> None:
    data = tomllib.loads(resources.files("ovdiff.evaluation").joinpath("published.toml").read_text())
    assert {table["preset"] for table in data["figures"]} <= set(preset_names())
    used = {table["source"] for table in (*data["figures"], *data["ablation"].values())}
    assert used == set(data["sources"]) == set(data["short"])
    for table in (*data["figures"], *data["ablation"].values()):
        assert all(0 < value < 100 for value in table["values"].values())
