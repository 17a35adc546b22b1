import json

import pytest

from benchmarks import stage_costs
from benchmarks.stage_costs import category_bytes, costs, encoding_bytes, with_precision
from ovdiff import load_preset
from ovdiff.planning.costs import preset_costs


def test_what_the_package_ships_is_what_was_measured() -> None:
    shipped = json.loads(stage_costs.OUT.read_text("utf-8"))
    assert costs(shipped, trace=False) == shipped


def test_an_encoding_is_as_large_as_the_presets_say() -> None:
    fast, paper = load_preset("fast"), load_preset("paper")
    assert 4096 * 2**20 / encoding_bytes(fast) == pytest.approx(400, rel=0.01)  # "about 400 photographs"
    assert encoding_bytes(paper) == pytest.approx(0.5e9, rel=0.2)  # "an image takes 0.5 GB"
    assert category_bytes(paper) > category_bytes(fast) > 1e6


@pytest.mark.parametrize(
    ("preset", "stage", "expected"),
    [
        ("fast", "clip features, window at 448 x 448", "half"),
        ("paper", "clip features, window at 448 x 448", "float32"),
        ("paper", "dino features, window at 448 x 597", "float32"),
        ("paper", "stable_diffusion features, window at 512 x 512", "half"),
        ("fast", "dinov2 features, window at 518 x 518", "half"),
        ("fast", "CLIP's look at parts", "half"),
        ("fast", "PAMR", "float32"),
        ("fast", "MaskCut's keys", "half"),
    ],
)
def test_precision_is_that_of_the_model_or_of_the_step(preset: str, stage: str, expected: str) -> None:
    assert with_precision(load_preset(preset), {"name": stage})["precision"] == expected


def test_arithmetic_is_that_of_the_table_in_the_docs() -> None:
    for preset, category, image in (("paper", 1764, 26), ("fast", 59, 2)):
        stages = preset_costs(preset).stages
        tflop = {part: sum((s.flops or 0) * s.items for s in stages if s.part in part) / 1e12 for part in ("category",)}
        assert tflop["category"] == pytest.approx(category, rel=0.01)
        of_image = sum((s.flops or 0) * s.items for s in stages if s.part != "category") / 1e12
        assert of_image == pytest.approx(image, rel=0.25)  # CLIP's look at parts besides
