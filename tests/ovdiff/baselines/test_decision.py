"""Decisions against loops over pixels and words."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ovdiff.baselines import decision
from ovdiff.baselines.decision import Rule, bands, class_scores_at, decide, merged
from ovdiff.baselines.preset import ActivationSettings
from ovdiff.baselines.words import Words
from ovdiff.segmenting.windows import Window

SOFTMAX, NONE = ActivationSettings("softmax", 5.0), ActivationSettings("none", 5.0)
WORDS = Words(("car", "bus", "sky", "wall", "floor"), (0, 0, 1, 2, 2), 2)
CPU = torch.device("cpu")


def _drawn(words: int = 5, size_hw: tuple[int, int] = (6, 7)) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.rand(words, *size_hw)


def _reference(values: list[float], owners: tuple[int, ...], count: int, rule: Rule) -> tuple[int, float]:
    """The label and the best score of one pixel."""
    scores = values
    if rule.scores.activation == "softmax":
        powers = [math.exp(rule.scores.scale * value) for value in values]
        scores = [power / sum(powers) for power in powers]
    best = [max(score for score, owner in zip(scores, owners, strict=True) if owner == index) for index in range(count)]
    behind = [score for score, owner in zip(scores, owners, strict=True) if owner == count]
    winner = best.index(max(best))
    is_background = max(best) < rule.threshold or (bool(behind) and max(behind) >= max(best))
    return 0 if is_background else winner + 1, max([*best, *behind])


def test_the_scores_of_one_pixel_are_those_of_its_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, size_hw = _drawn(), (12, 15)
    whole = decide(maps, WORDS, size_hw, Rule(SOFTMAX, 0.0))
    monkeypatch.setattr(decision, "_CELLS_AT_ONCE", 5 * 15 * 2)  # bands of two rows
    for x, y in ((0, 0), (14, 11), (7, 2), (3, 9)):
        found = class_scores_at(maps, WORDS, size_hw, SOFTMAX, (x, y))
        assert found.shape == (3,) and float(found.max()) == pytest.approx(float(whole.scores[y, x]), abs=1e-6)
    with pytest.raises(IndexError, match="lies outside"):
        class_scores_at(maps, WORDS, size_hw, SOFTMAX, (0, 12))


@pytest.mark.parametrize("rule", [Rule(SOFTMAX, 0.35), Rule(SOFTMAX, 0.0), Rule(NONE, 0.8)])
@pytest.mark.parametrize("words", [WORDS, Words(("car", "bus", "sky"), (0, 0, 1), 2), Words(("car",), (0,), 1)])
def test_each_pixel_is_decided_as_sclip_s_code_does(words: Words, rule: Rule) -> None:
    maps = _drawn(len(words.texts))
    found = decide(maps, words, (6, 7), rule)
    labels = set()
    for row in range(6):
        for column in range(7):
            values = [float(value) for value in maps[:, row, column]]
            label, score = _reference(values, words.owners, words.categories, rule)
            assert found.label_map[row, column] == label
            assert found.scores[row, column] == pytest.approx(score, abs=1e-6)
            labels.add(label)
    assert len(labels) > 1 or len(words.texts) == 1
    assert found.label_map.dtype == np.int32 and (found.margins >= 0).all()


def test_scores_stay_within_their_bounds() -> None:
    maps = torch.tensor([[[3.0, -2.0]]])
    found = decide(maps, Words(("car",), (0,), 1), (1, 2), Rule(NONE, -1.0))
    assert found.scores.tolist() == [[1.0, 0.0]] and found.label_map.tolist() == [[1, 0]]


@pytest.mark.parametrize("size_hw", [(6, 7), (13, 31), (3, 2), (1, 1), (50, 7)])
def test_bands_are_what_enlarging_at_once_gives(size_hw: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "_CELLS_AT_ONCE", 5 * size_hw[1] * 2)
    maps = _drawn()
    found = list(bands(maps, size_hw))
    assert len(found) == -(-size_hw[0] // 2)
    expected = F.interpolate(maps[None], size_hw, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(torch.cat(found, dim=1), expected, rtol=1e-5, atol=1e-6)


def test_windows_are_averaged_where_they_overlap_by_their_weights() -> None:
    left, right = Window(0, 0, 2, 4, weight=1), Window(0, 2, 2, 4, weight=3)
    maps = [((left,), torch.full((1, 1, 1, 1), 1.0)), ((right,), torch.full((1, 1, 2, 2), 5.0))]
    found = merged(maps, 1, (2, 6), CPU)
    assert found[0].tolist() == [[1.0, 1.0, 4.0, 4.0, 5.0, 5.0]] * 2
