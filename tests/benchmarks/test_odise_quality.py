import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.drawn_world import EVERYTHING
from benchmarks.odise_quality import (
    CLOSED,
    TAPS,
    WITH_ALL_TAPS,
    TrueSegments,
    choose,
    closed_table,
    figures,
    main,
    recall,
    semantic_ious,
    table,
    taps_table,
)
from ovdiff.odise.engine import EncodedMasks
from ovdiff.odise.outputs import Instances, PanopticResult, Segment
from ovdiff.segmentation import Segmentation
from ovdiff.tinyworld import weights_dir
from ovdiff.tinyworld.world import THINGS, render, sample_scene, segments_of

SIDE = 64


class Oracle:
    """Answers with the truth; scenes are told apart by their size's first number."""

    def __init__(self, scenes: list[TrueSegments], background: float = 0.5, score: float = 0.9) -> None:
        self.scenes, self.score = scenes, score
        self.preset: Any = SimpleNamespace(outputs=SimpleNamespace(background=background))

    def _truth(self, encoded: EncodedMasks) -> TrueSegments:
        return next(scene for scene in self.scenes if scene.encoded is encoded)

    def label(self, encoded: EncodedMasks, _vocabulary: object) -> Segmentation:
        scene = self._truth(encoded)
        labels = np.array([0, *(EVERYTHING.names.index(name) + 1 for name in scene.names)], np.int32)[scene.ids]
        scores = np.where(labels > 0, self.score, 0.2).astype(np.float32)
        shown = np.where(labels > 0, labels, 1)  # without a threshold, background is painted as the first word
        found = np.where(scores > self.preset.outputs.background, shown, 0).astype(np.int32)
        return Segmentation(found, scores, scores)

    def panoptic(self, encoded: EncodedMasks, _vocabulary: object) -> PanopticResult:
        scene = self._truth(encoded)
        segments = [Segment(EVERYTHING.names.index(name), 1.0) for name in scene.names]
        return PanopticResult(torch.from_numpy(scene.ids), segments)

    def instances(self, encoded: EncodedMasks, _vocabulary: object) -> Instances:
        scene = self._truth(encoded)
        things = [(i, name) for i, name in enumerate(scene.names, 1) if name in THINGS]
        labels = torch.tensor([THINGS.index(name) for _, name in things], dtype=torch.long)
        masks = np.array([scene.ids == i for i, _ in things], np.bool_).reshape(-1, SIDE, SIDE)
        return Instances(labels, torch.ones(len(things)), torch.from_numpy(masks))


@pytest.fixture(scope="module")
def scenes() -> list[TrueSegments]:
    found = []
    for number in range(12):
        ids, names = segments_of(render(sample_scene(number, "thresholds", 2), SIDE))
        logits = torch.from_numpy(np.array([ids == i for i in range(1, len(names) + 1)])).float() * 20 - 10
        encoded = EncodedMasks((SIDE, SIDE), logits, torch.zeros(len(names), 4), None, None)
        found.append(TrueSegments(encoded, ids, names))
    return found


def test_the_truth_is_perfect(scenes: list[TrueSegments]) -> None:
    measured = figures(Oracle(scenes), scenes, ["car", "fish"])  # type: ignore[arg-type]
    assert {name: value for name, value in measured.items() if value != pytest.approx(1.0)} == {}
    assert {"mIoU seen", "PQ unseen", "recall unseen"} <= set(measured)


def test_a_painted_background_and_a_lost_mask_are_seen(scenes: list[TrueSegments]) -> None:
    ious = semantic_ious(Oracle(scenes, background=0.0), scenes)  # type: ignore[arg-type]
    assert ious[0] == 0 and ious[1] < 1
    blind = [replace(scene, encoded=replace(scene.encoded, logits=-scene.encoded.logits)) for scene in scenes]
    assert recall(scenes, THINGS) == 1 and recall(blind, THINGS) < 0.2


def test_the_threshold_is_the_best_on_the_scenes_for_choosing(
    scenes: list[TrueSegments], monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(engine: Oracle, alpha: float, beta: float, background: float) -> Oracle:
        return Oracle(scenes, background)

    monkeypatch.setattr("benchmarks.odise_quality.with_weights", other)
    chosen = choose(Oracle(scenes), scenes, [(0.3, 0.7)])  # type: ignore[arg-type]
    assert chosen.preset.outputs.background == 0.2  # background scores .2, which is not above it; words score .9


def test_the_weights_are_the_best_on_the_scenes_for_choosing(
    scenes: list[TrueSegments], monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(engine: Oracle, alpha: float, beta: float, background: float) -> Oracle:
        return Oracle(scenes, background, score=beta)  # words that score less than background are lost

    monkeypatch.setattr("benchmarks.odise_quality.with_weights", other)
    weights = [(0.3, 0.1), (0.3, 0.9), (0.3, 0.15)]
    assert choose(Oracle(scenes), scenes, weights).score == 0.9  # type: ignore[arg-type,attr-defined]


def test_heads_that_lack_taps_have_a_table_of_their_own() -> None:
    figure = {"fused": dict.fromkeys(CLOSED, 0.5)}
    rows = {name: {"0": figure} for name in ("captioner", WITH_ALL_TAPS, f"{TAPS}no decoder")}
    lines = [line.split("|")[1].strip() for line in closed_table(rows).splitlines()[2:]]
    assert lines == ["captioner", WITH_ALL_TAPS]
    lines = [line.split("|")[1].strip() for line in taps_table(rows).splitlines()[2:]]
    assert lines == [WITH_ALL_TAPS, f"{TAPS}no decoder"]


def test_tables_have_a_line_for_each_head_and_way() -> None:
    rows = {
        "head": {
            str(seed): {way: {"mIoU": 0.5 + seed / 10} for way in ("diffusion", "fused", "CLIP")} for seed in (0, 2)
        }
    }
    assert table(rows, ("mIoU",)).splitlines()[2] == "| head | diffusion | .600 ± .100 |"
    assert "fused" not in table(rows, ("PQ unseen",))


@pytest.mark.slow
def test_the_embedded_head_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, head = tmp_path / "figures.json", weights_dir() / "odise"
    options = ["--scenes", "6", "--choosing", "4", "--crowded", "1", "--sizes", "4", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["odise_quality", f"embedded={head}", *options])
    main()
    measured = json.loads(out.read_text())["rows"]["embedded"]["0"]
    assert measured["fused"]["mIoU"] > 0.5 and measured["diffusion"]["PQ"] > 0.4
    assert "| embedded | fused |" in capsys.readouterr().out
