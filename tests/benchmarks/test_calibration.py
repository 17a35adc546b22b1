import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import calibration
from benchmarks.asked_words import SceneWord
from benchmarks.calibration import (
    by_kind,
    equal_mass_error,
    main,
    region_figures,
    regions_of,
    reliability,
    rescored,
    variants,
)
from benchmarks.drawn_world import Scenes
from ovdiff.calibration import JudgedRegion
from ovdiff.presets.segmenting_settings import RegionScoreWeights, ScoreSettings
from ovdiff.region_scores import RegionEvidence


def region(score: float, *, right: bool, name: str = "boat", painted: float = 0.1) -> SceneWord:
    iou, evidence = 0.5 if right else 0.49, RegionEvidence(0.8, 0.1, -2.0)
    return SceneWord(0.1, painted, iou, score, 50_000, (name,), name, evidence)


def some(score: float, right: int, wrong: int) -> list[SceneWord]:
    return [region(score, right=True)] * right + [region(score, right=False)] * wrong


def test_scores_that_keep_their_promise_have_no_error() -> None:
    kept = some(0.25, 1, 3) + some(0.75, 3, 1)
    assert reliability(kept).acceptance_error == pytest.approx(0)
    assert region_figures(kept)["AUROC"] == pytest.approx(0.75)


def test_the_error_is_the_gap_weighed_by_the_regions() -> None:
    regions = some(0.95, 1, 1) + some(0.35, 0, 2)
    assert region_figures(regions)["ECE"] == pytest.approx((2 * 0.45 + 2 * 0.35) / 4)


def test_bins_of_equal_mass_part_scores_that_lie_close_together() -> None:
    crowded = some(0.91, 0, 50) + some(0.93, 50, 0)
    assert region_figures(crowded)["ECE"] == pytest.approx(0.42)  # one bin of equal width: .92 against .5
    assert equal_mass_error(crowded) == pytest.approx(0.5 * 0.91 + 0.5 * 0.07)
    assert equal_mass_error([]) is None


def test_a_region_is_a_word_that_has_a_pixel() -> None:
    tiny, none = region(0.5, right=True, painted=1e-5), region(0.5, right=True, painted=0)
    assert regions_of([tiny, none]) == [tiny]


def test_things_and_stuff_are_told_apart() -> None:
    figures = by_kind([region(0.5, right=True), region(0.9, right=True, name="sky")])
    assert {kind: row["regions"] for kind, row in figures.items()} == {"all": 2, "things": 1, "stuff": 1}
    assert figures["stuff"]["ECE"] == pytest.approx(0.1)
    assert by_kind([])["all"]["ECE"] is None


def test_the_same_regions_can_be_given_other_scores() -> None:
    regions = [region(0.5, right=True), region(0.9, right=True, name="sky")]
    calibrated = ScoreSettings("calibrated", things=RegionScoreWeights(-800.0), stuff=RegionScoreWeights(800.0))
    assert [each.score for each in rescored(regions, calibrated)] == pytest.approx([0, 1], abs=1e-9)
    found = variants({"crowded": regions}, {"mean cosine": ScoreSettings("mean_cosine")})
    assert list(found) == ["crowded", "crowded, mean cosine"]
    assert found["crowded"] == regions and [each.score for each in found["crowded, mean cosine"]] == [0.8, 0.8]


def test_the_command_writes_tables_figures_and_a_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def bench(preset: Any, seed: int, folder: Path) -> Any:
        return type("Bench", (), {"engine": lambda self: seed})()

    def measured(engine: Any, scenes: Scenes, vocabularies: int) -> list[SceneWord]:
        assert scenes.numbers in ((50_000,), (3,))
        return some(0.95, 3, 1) if engine == 42 else some(0.95, 1, 1)

    def encoded(_engine: object, _split: str, numbers: range) -> Scenes:
        return Scenes(tuple(numbers), (), (), ())

    monkeypatch.setattr(calibration, "Bench", bench)
    monkeypatch.setattr(calibration, "measure", measured)
    monkeypatch.setattr(calibration, "support_regions", lambda engine, words: [judged] * (engine - 41))
    monkeypatch.setattr(calibration, "encode_crowded", encoded)
    monkeypatch.setattr(calibration, "encode_scenes", encoded)
    judged = JudgedRegion(RegionEvidence(0.8, 0.1, -2.0), is_stuff=False, is_right=True)
    out, picture = tmp_path / "calibration.json", tmp_path / "reliability.png"
    text = f"x --label-free --scenes 1 --usual-first 3 --seeds 42 43 --bank {tmp_path} --out {out} --picture {picture}"
    monkeypatch.setattr("sys.argv", text.split())
    printed: list[str] = []
    main(printed.append)
    assert "| crowded | things | .325 ± .125 | .388 ± .112 | .950 ± .000 | .625 ± .125 | .500 ± .000 |" in printed[-1]
    assert "| crowded, mean cosine | things | .175 ± .125 |" in printed[-1]
    assert "| crowded, fitted on support images | things |" in printed[-1]
    assert "| 0.9 to 1.0 | 6 | .950 | .667 | 6 | .950 | .667 |" in printed[-1]
    written = json.loads(out.read_text())
    assert written["protocol"]["usual_first"] == 3
    assert [each["things"]["intercept"] for each in written["label-free weights"].values()] == [0.6931, 1.099]
    assert np.asarray(Image.open(picture)).std() > 0
