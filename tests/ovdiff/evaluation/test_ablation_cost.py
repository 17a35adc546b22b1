"""The cost of an ablation, counted before it runs and again after it was begun."""

from dataclasses import replace
from pathlib import Path

import pytest

from ovdiff.bank.recipe import Recipes
from ovdiff.bank.support_store import SupportStore
from ovdiff.engines import load_any_preset
from ovdiff.evaluation.ablation import run_ablation
from ovdiff.evaluation.ablation_cost import Cost, Timed, cost_of, time_items
from ovdiff.evaluation.rows import changed
from ovdiff.presets import Preset
from ovdiff.vocabulary import Category
from tests.ovdiff.evaluation.test_ablation import Scenes, ablation, quietly
from tests.ovdiff.evaluation.test_shared_work import drawn


def test_what_rows_share_is_counted_once(tmp_path: Path) -> None:
    preset = load_any_preset("tinyworld")
    assert isinstance(preset, Preset)
    preset = replace(preset, anchors=replace(preset.anchors, words=(), prototypes=()))
    rows = ["sd", "no-windows", "k-4", "n-4"]
    made = ablation(tmp_path, preset, rows, Scenes(), seeds=(42, 43))
    cost = cost_of(made)
    # 3 words and 2 seeds: 8 images each, of which those with N = 4 are some; prototypes of full, K = 4 and N = 4
    assert cost == Cost(images=3 * 2 * 8, sets=3 * 2 * 3, encodings=2 * 2, labellings=5 * 2 * 2)
    shelf = SupportStore(tmp_path / "bank" / "support").shelf(Recipes(preset).support(Category("ball")).key, "")
    shelf.keep(drawn(range(8)))
    assert cost_of(made).images == 3 * 2 * 8 - 8 + 4  # seed 42's four are not counted as taken from these eight


def test_what_is_done_is_not_counted_and_items_are_timed(tmp_path: Path) -> None:
    plain = changed(load_any_preset("naclip_tinyworld"), {"refine": {"pamr": False}}, "plain")
    made = ablation(tmp_path, plain, ["pamr"], Scenes())
    assert cost_of(made) == Cost(0, 0, 2, 4)
    timed = time_items(made)
    assert timed.draw_s is None
    assert timed.encode_s is not None
    assert timed.label_s is not None
    assert min(timed.encode_s, timed.label_s) > 0
    assert cost_of(made).seconds(timed) == pytest.approx(2 * timed.encode_s + 4 * timed.label_s)
    run_ablation(made, quietly)
    assert cost_of(made) == Cost(0, 0, 0, 0)
    assert cost_of(made).seconds(Timed()) == 0


def test_without_a_timed_item_there_is_no_estimate() -> None:
    assert Cost(8, 1, 0, 0).seconds(Timed(draw_s=1.0)) is None
    assert Cost(8, 0, 2, 0).seconds(Timed(draw_s=1.0, encode_s=0.5)) == 9.0
