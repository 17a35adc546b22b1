import tomllib
from pathlib import Path
from typing import Any

import pytest

from benchmarks import fit_scores
from benchmarks.asked_words import SceneWord
from benchmarks.drawn_world import Scenes
from ovdiff.presets.segmenting_settings import RegionScoreWeights
from ovdiff.region_scores import RegionEvidence, probability


def regions(seed: int) -> list[SceneWord]:
    """Regions of things that are right if CLIP sees the word, and one region of stuff."""
    seen = [-0.1 - number / 50 - (seed - 42) / 1000 for number in range(40)]
    found = [
        SceneWord(0.1, 0.1, iou, 0.8, 7, ("boat",), "boat", RegionEvidence(0.8, 0.1, -2.0, log_presence))
        for log_presence, iou in zip([*seen, *(each - 1 for each in seen)], [0.9] * 40 + [0.1] * 40, strict=True)
    ]
    return [*found, SceneWord(0.1, 0.1, 0.9, 0.8, 7, ("sky",), "sky", RegionEvidence(0.9, 0.1, -1.0, -1.0))]


def test_the_table_and_the_errors_that_are_left_are_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, tuple[int, ...]]] = []

    def encoded(_engine: object, split: str, numbers: range) -> Scenes:
        asked.append((split, tuple(numbers)))
        return Scenes(tuple(numbers), (), (), ())

    def bench(preset: Any, seed: int, folder: Path) -> Any:
        return type("Bench", (), {"engine": lambda self: seed})()

    monkeypatch.setattr(fit_scores, "Bench", bench)
    monkeypatch.setattr(fit_scores, "measure", lambda engine, scenes, vocabularies: regions(engine))
    monkeypatch.setattr(fit_scores, "encode_crowded", encoded)
    monkeypatch.setattr(fit_scores, "encode_scenes", encoded)
    monkeypatch.setattr("sys.argv", f"x --scenes 2 --seeds 42 43 --bank {tmp_path}".split())
    printed: list[str] = []
    fit_scores.main(printed.append)
    assert asked == [("thresholds", (0, 1)), ("thresholds", (2000, 2001))]
    scores = tomllib.loads(printed[0])["scores"]
    things = RegionScoreWeights(**scores["things"])
    assert scores["kind"] == "calibrated" and things.cosine == things.margin == 0
    seen, unseen = (probability(things, RegionEvidence(0.8, 0.1, -2.0, presence)) for presence in (-0.1, -1.9))
    assert seen > 0.9 and unseen < 0.1
    assert "| crowded | things |" in printed[1] and "| usual | stuff |" in printed[1]
