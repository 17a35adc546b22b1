"""The rows of an ablation on the presets that come with the package."""

from collections.abc import Mapping
from typing import Any

import pytest

from ovdiff.engines import load_any_preset
from ovdiff.errors import EvaluationError, PresetError
from ovdiff.evaluation.published import ablated_rows
from ovdiff.evaluation.rows import ROWS, Variant, changed, families, row_names, variants
from ovdiff.presets.preset import preset_to_mapping


def of(name: str, *wanted: str) -> dict[str, Variant]:
    found, _ = variants(load_any_preset(name), wanted)
    return {each.row.name: each for each in found}


def fields(variant: Variant) -> Mapping[str, Any]:
    return preset_to_mapping(variant.preset)


def test_every_row_is_a_change_of_the_preset_under_its_own_name() -> None:
    found = of("tinyworld")
    assert fields(found["full"]) == preset_to_mapping(load_any_preset("tinyworld"))
    assert found["no-windows"].preset.name == "tinyworld: no-windows"
    assert fields(found["no-windows"])["windows"]["crops_px"] == []
    assert fields(found["kinds-class-part"])["matching"]["kinds"] == ["class", "part"]
    assert fields(found["k-16"])["prototypes"]["parts"] == 16
    assert fields(found["n-2"])["generation"]["images"] == 2
    assert fields(found["windows-small"])["windows"]["crops_px"] == [[96, 64]]
    assert fields(found["windows-fine"])["windows"]["short_side_px"] == 192
    assert fields(found["paper-dino"])["matching"]["extractors"] == ["dino"]
    assert fields(found["paper-class-only"])["part_check"]["enabled"] is False


def test_rows_that_are_the_same_have_one_set_of_figures() -> None:
    found = of("tinyworld")
    same = {name: each.same_as for name, each in found.items() if each.same_as}
    assert same["sd-clip"] == same["k-8"] == same["n-8"] == same["pamr"] == "full"
    assert same["paper-k-8"] == "paper"
    assert of("paper")["paper-k-32"].same_as == "paper"


def test_rows_that_a_preset_cannot_have_are_left_out_with_the_reason() -> None:
    _, left_out = variants(load_any_preset("tinyworld"))
    why = {each.name: each.why for each in left_out}
    assert "names 'mae', which extractors.use does not build" in why["mae"]
    assert "needs models.cutler, which is missing" in why["proposals-cutler"]
    assert "draws 64 images a category, and the preset 8; name it with --rows" in why["n-64"]
    found, left_out = variants(load_any_preset("odise"))
    assert [each.row.name for each in found] == ["full"]
    assert {each.name: each.why for each in left_out}["k-8"] == "a preset of the engine 'odise' has no [prototypes]"
    assert {"full", "no-windows", "pamr"} <= of("naclip").keys()


def test_a_family_or_a_row_brings_what_it_is_compared_with() -> None:
    assert list(of("tinyworld", "k-4", "kinds")) == [
        "full",
        *(name for name in ROWS if name.startswith("kinds-")),
        "k-4",
    ]
    assert list(of("tinyworld", "paper-class-only")) == ["paper", "paper-class-only"]
    assert "n-64" in of("tinyworld", "n-64")
    assert "t-200" in of("tinyworld", "features")
    assert "t-200" not in of("tinyworld")


def test_without_background_rows_about_it_are_the_same() -> None:
    found, _ = variants(load_any_preset("tinyworld"), background=False)
    by_name = {each.row.name: each for each in found}
    assert fields(by_name["full"])["matching"]["background"] == "none"
    assert fields(by_name["no-windows"])["matching"]["background"] == "none"
    _, left_out = variants(load_any_preset("odise"), background=False)
    assert all(each.name != "full" for each in left_out) or "cannot give every pixel a category" in left_out[0].why


def test_wrong_names_and_wrong_changes_are_refused() -> None:
    with pytest.raises(EvaluationError, match=r"There is no row 'nonsense'. Families: parts, paper, extractors"):
        of("tinyworld", "nonsense")
    with pytest.raises(PresetError, match=r"a preset of the engine 'ovdiff' has no windows.size"):
        changed(load_any_preset("tinyworld"), {"windows": {"size": 3}}, "mine")
    with pytest.raises(PresetError, match=r"generation\.images"):
        changed(load_any_preset("tinyworld"), {"generation": {"images": 0}}, "mine")


def test_every_published_row_is_a_row_and_references_come_first() -> None:
    assert set(ablated_rows()) <= set(row_names())
    assert set(families()) == {"parts", "paper", "extractors", "kinds", "k", "n", "proposals", "windows", "features"}
    order = list(ROWS)
    assert all(order.index(row.against) <= order.index(row.name) for row in ROWS.values())
