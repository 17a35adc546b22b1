import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ovdiff.forecasting.figures import figures_of, mean_ranks, symmetric
from ovdiff.forecasting.looks import Look


def _look(
    category: int, decided: list[float], seen: list[float] | None, *, certain: float = 0.5, area: float = 1.0
) -> Look:
    shares = np.array(decided)
    return Look(category, shares, shares, certain, np.zeros(len(shares)), None if seen is None else np.log(seen), area)


def test_images_of_a_category_weigh_the_same() -> None:
    looks = [_look(0, [0, 1, 0], [0.9, 0.1]), _look(0, [0.5, 0, 0.5], [0.4, 0.6]), _look(1, [0, 0.2, 0.8], [0.3, 0.7])]
    found = figures_of(looks, 2)
    assert found.images.tolist() == [2, 1]
    np.testing.assert_allclose(found.confusion, [[0.25, 0.5, 0.25], [0, 0.2, 0.8]])
    assert found.confused()[0, 1] == pytest.approx((0.25 + 0.2) / 2)
    assert found.told_apart[0, 1] == pytest.approx((0.5 + 1.0) / 2)  # CLIP errs in one of the first word's two images


def test_larger_and_surer_categories_have_a_higher_expected_iou() -> None:
    def expected(certain: float, area: float) -> float:
        return float(figures_of([_look(0, [0, 1], [1.0], certain=certain, area=area)], 1).expected_iou[0])

    assert expected(0.9, 0.3) > expected(0.4, 0.3) and expected(0.9, 0.3) > expected(0.9, 0.03)
    assert expected(1.0, 1.0) == pytest.approx(0.9) and expected(0.0, 1e-9) == 0.0


def test_the_risk_is_the_mean_rank_of_three_witnesses() -> None:
    pixels = np.array([[0, 0.3, 0.1], [0.3, 0, 0.2], [0.1, 0.2, 0]])
    clip = np.array([[0, -1.0, -2.0], [-1.0, 0, -3.0], [-2.0, -3.0, 0]])
    found = mean_ranks([pixels, clip])
    assert found[0, 1] == 1.0 and found[0, 2] == pytest.approx(0.25) and found[1, 2] == pytest.approx(0.25)
    assert np.isnan(np.diag(found)).all() and np.array_equal(found, found.T, equal_nan=True)


def test_without_clip_the_others_decide() -> None:
    looks = [_look(index, row, None) for index, row in enumerate(([0, 1, 0, 0], [0, 0.6, 0.4, 0], [0, 0, 0.1, 0.9]))]
    found = figures_of(looks, 3)
    assert found.risk[0, 1] > found.risk[1, 2] > found.risk[0, 2]
    assert np.isnan(found.told_apart).all()


@given(st.integers(2, 6), st.integers(0, 99))
def test_risks_lie_between_nothing_and_one(count: int, seed: int) -> None:
    tables: list[NDArray[np.float64]] = [
        symmetric(np.random.default_rng([seed, n]).random((count, count))) for n in (0, 1)
    ]
    found = mean_ranks(tables)[np.triu_indices(count, 1)]
    assert ((found >= 0) & (found <= 1)).all()


def test_no_images_give_no_figures() -> None:
    assert figures_of([], 0).confusion.size == 0
