from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import baselines
from benchmarks.baselines import DENSE, ROWS, Choice, best_rule, choose, figures_of, measure, table, word_maps
from benchmarks.drawn_world import EVERYTHING, USUAL_PX
from ovdiff.engines import load_any_preset
from ovdiff.models.loaded import LoadedModels
from ovdiff.tinyworld.world import render, sample_scene


def test_the_threshold_with_the_best_miou_is_taken() -> None:
    """Two words with similarities of .4 and .2, of which the second is where nothing is."""
    maps = torch.full((19, 4, 4), -1.0)
    maps[0, :2], maps[1, 2:] = 0.4, 0.2
    truth = np.zeros((4, 4), dtype=np.int32)
    truth[:2] = 1
    found = {choice.settings["scale"]: choice for choice in best_rule([maps], [truth], {"pamr": False})}
    assert found[0.0].miou == 1.0 and 0.2 < found[0.0].settings["threshold"] <= 0.4
    assert found[0.0].settings["pamr"] is False and set(found) == set(baselines.SCALES)


def test_pamr_is_tried_with_the_best_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def maps(name: str, images: Any, tried: Any, models: Any) -> Any:
        asked.append(tried)
        return tried

    def rule(maps: Any, truths: Any, tried: Any) -> list[Choice]:
        return [Choice(tried["short_side_px"] / 1000 + tried["pamr"], tried)]

    monkeypatch.setattr(baselines, "word_maps", maps)
    monkeypatch.setattr(baselines, "best_rule", rule)
    found = choose("maskclip", 1, LoadedModels())
    assert found.settings["pamr"] and found.settings["short_side_px"] == 256
    assert len(asked) == len(baselines.WINDOWS) * len(DENSE["maskclip"]) + 1
    assert [each["pamr"] for each in asked].count(True) == 1


def test_maps_are_those_of_the_settings() -> None:
    image = render(sample_scene(0, "thresholds"), USUAL_PX).image
    tried = {"short_side_px": 64, "crops_px": (), "surgery_blocks": 1, "pamr": False}
    (found,) = word_maps("clip_surgery", [image], tried, LoadedModels())
    assert found.shape == (len(EVERYTHING.names), 64, 64)


def test_figures_are_the_means_of_their_classes_and_the_table_shows_them() -> None:
    confusion = np.zeros((20, 20), dtype=np.int64)
    confusion[0, 0] = confusion[1, 1] = confusion[13, 13] = 3
    confusion[1, 0] = 1  # of ball: .75, as of background; sky is right, and the other words occur nowhere
    found = figures_of(confusion)
    assert found == {"miou": pytest.approx(2.5 / 3), "things": 0.75, "stuff": 1.0, "background": 0.75}
    rows = {"naclip_tinyworld": {**found, "seconds": 0.75, "peak_mib": 812.4}}
    text = table({"protocol": {"scenes": 3}, "rows": rows})
    assert "| NACLIP | words | .833 | .750 | 1.000 | .750 | 0.75 | 812 |" in text and "*3 usual scenes" in text


def test_a_row_is_measured(tmp_path: Path) -> None:
    found = measure("maskclip_tinyworld", 2, tmp_path)
    assert 0 < found["miou"] < 1 and found["seconds"] > 0 and found["peak_mib"] > 100


def test_every_row_is_a_preset() -> None:
    for preset in ROWS:
        assert load_any_preset(preset).name == preset
    assert {f"{name}_tinyworld" for name in DENSE} < set(ROWS)
