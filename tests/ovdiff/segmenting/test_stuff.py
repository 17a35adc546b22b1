import math

import torch

from ovdiff.segmenting.stuff import keep_background


def _unit(degrees: float) -> list[float]:
    return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]


def test_only_rows_nearer_than_the_threshold_go() -> None:
    at_085 = math.degrees(math.acos(0.85))
    backgrounds = torch.tensor([_unit(0), _unit(at_085 - 1), _unit(at_085 + 1), _unit(180)]) * 7
    stuff = torch.tensor([_unit(0)]) * 3
    assert keep_background(backgrounds, stuff, 0.85).tolist() == [False, False, True, True]


def test_any_prototype_of_stuff_counts() -> None:
    backgrounds = torch.tensor([_unit(0), _unit(90), _unit(45)])
    stuff = torch.tensor([_unit(200), _unit(1), _unit(91)])
    assert keep_background(backgrounds, stuff, 0.95).tolist() == [False, False, True]


def test_without_stuff_or_background_everything_stays() -> None:
    assert keep_background(torch.ones(2, 3), torch.zeros(0, 3), 0.5).tolist() == [True, True]
    assert keep_background(torch.zeros(0, 3), torch.ones(1, 3), 0.5).tolist() == []
