"""Places and their weights: the transpose of enlarging, against enlarging itself."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovdiff.errors import ImageError
from ovdiff.explaining.places import pixel_weights, place_mask, shrink
from ovdiff.segmenting.segmenter import enlarge


@pytest.mark.parametrize(
    ("small_hw", "large_hw"), [((3, 4), (7, 9)), ((8, 8), (8, 8)), ((9, 6), (4, 5)), ((1, 1), (5, 3))]
)
def test_shrinking_is_the_transpose_of_enlarging(small_hw: tuple[int, int], large_hw: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(0)
    small = torch.randn(1, *small_hw, dtype=torch.float64, generator=random)
    large = torch.randn(large_hw, dtype=torch.float64, generator=random)
    expected = (enlarge(small, large_hw)[0] * large).sum()
    torch.testing.assert_close((shrink(large, small_hw) * small[0]).sum(), expected)


def test_shrinking_works_on_what_inference_made() -> None:
    with torch.inference_mode():
        large = torch.ones(4, 4)
        assert float(shrink(large, (2, 2)).sum()) == pytest.approx(16)


@pytest.mark.parametrize("working_hw", [(20, 30), (10, 15), (40, 60)])
def test_the_weighted_sum_is_the_mean_over_the_enlarged_map(working_hw: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random((20, 30)) > 0.7
    scores = torch.randn(1, *working_hw, generator=torch.Generator().manual_seed(1))
    weights = pixel_weights(mask, working_hw)
    assert float(weights.sum()) == pytest.approx(1)
    expected = enlarge(scores, (20, 30))[0][torch.from_numpy(mask)].mean()
    assert float((weights * scores[0]).sum()) == pytest.approx(float(expected), abs=1e-6)


def test_a_pixel_is_a_mask_of_one_pixel() -> None:
    mask = place_mask((4, 2), (5, 6))
    assert mask.shape == (5, 6) and mask.sum() == 1 and mask[2, 4]
    assert place_mask(mask, (5, 6)) is mask


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ((6, 0), r"pixel \(6, 0\) lies outside the image of 6 x 5 px; x goes from 0 to 5, and y from 0 to 4"),
        ((0, -1), "outside the image"),
        (np.zeros((5, 6), dtype=bool), "empty"),
        (np.ones((6, 5), dtype=bool), r"shape \(6, 5\), and the image \(5, 6\)"),
        (np.ones((5, 6), dtype=np.uint8), "uint8; expected bool"),
    ],
)
def test_what_is_no_place_is_refused(where: tuple[int, int] | NDArray[np.bool_], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        place_mask(where, (5, 6))
