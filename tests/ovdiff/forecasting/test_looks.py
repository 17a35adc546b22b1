"""The rest of the module is tested through the engine, by test_forecaster.py."""

import numpy as np
import torch

from ovdiff.forecasting.looks import asked_scores, resized, shares, surroundings
from ovdiff.segmenting.matching import ScoreMaps
from ovdiff.segmenting.steps import Step


def test_anchors_count_as_background_and_words_that_the_prefilter_removed_have_no_score() -> None:
    maps = ScoreMaps(torch.tensor([0.1, 0.5, 0.4, 0.2]).reshape(4, 1, 1), (0, 1, 3, 4))
    assert asked_scores(Step("votes", maps), 2)[:, 0, 0].round(6).tolist() == [0.4, 0.5, -1.0]


def test_a_mask_follows_the_working_size_and_never_vanishes() -> None:
    mask = np.zeros((8, 8), dtype=bool)
    mask[:4] = True
    assert np.array_equal(resized(mask, (16, 16)), mask.repeat(2, axis=0).repeat(2, axis=1))
    speck = np.zeros((100, 100), dtype=bool)
    speck[70, 20] = True
    small = resized(speck, (10, 10))
    assert np.count_nonzero(small) == 1 and small[7, 2]


def test_the_surroundings_are_near_the_mask_and_outside_of_it() -> None:
    mask = np.zeros((50, 50), dtype=bool)
    mask[20:30, 20:30] = True
    near = surroundings(mask)
    assert not (near & mask).any() and near[18, 25] and not near[17, 25]
    assert not surroundings(np.ones((5, 5), dtype=bool)).any()


def test_shares_of_nothing_are_zero() -> None:
    assert shares(np.array([0, 2, 2, 1]), 2).tolist() == [0.25, 0.25, 0.5]
    assert shares(np.array([], dtype=np.int64), 2).tolist() == [0, 0, 0]
