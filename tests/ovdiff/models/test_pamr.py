from itertools import product

import numpy as np
import torch

from ovdiff.models.pamr import pamr
from ovdiff.presets.segmenting_settings import RefineSettings

SMALL = RefineSettings(pamr=True, pamr_iterations=2, pamr_dilations=(1, 2))


def _slow_pamr(image: np.ndarray, scores: np.ndarray, settings: RefineSettings) -> np.ndarray:
    """A.13 pixel by pixel."""
    height, width = image.shape[:2]
    colours = image.astype(np.float64)

    def at(row: int, column: int) -> tuple[int, int]:
        return min(max(row, 0), height - 1), min(max(column, 0), width - 1)

    offsets = [
        (d * r, d * c) for d in settings.pamr_dilations for r, c in product((-1, 0, 1), repeat=2) if (r, c) != (0, 0)
    ]
    for _ in range(settings.pamr_iterations):
        moved = np.empty_like(scores)
        for row, column in product(range(height), range(width)):
            places = [at(row + r, column + c) for r, c in offsets]
            near = np.array([colours[place] for place in places])
            nine = np.vstack([near, np.repeat(colours[row, column][None], len(settings.pamr_dilations), axis=0)])
            likeness = -np.abs(near - colours[row, column]) / (1e-8 + 0.1 * nine.std(axis=0, ddof=1))
            weights = np.exp(likeness.mean(axis=1))
            weights /= weights.sum()
            moved[:, row, column] = sum(w * scores[:, r, c] for w, (r, c) in zip(weights, places, strict=True))
        scores = moved
    return scores


def test_pamr_is_the_slow_reference() -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    scores = random.random((3, 7, 9))
    found = pamr(image, torch.from_numpy(scores.astype(np.float32)), SMALL)
    np.testing.assert_allclose(found.numpy(), _slow_pamr(image, scores, SMALL), rtol=1e-4, atol=1e-5)


def test_pamr_keeps_constants_and_so_its_weights_sum_to_1() -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    constant = torch.full((2, 40, 30), 0.37)
    torch.testing.assert_close(pamr(image, constant, RefineSettings(pamr=True)), constant)


def test_pamr_fits_scores_to_the_image_and_leaves_its_arguments() -> None:
    image = np.zeros((16, 20, 3), np.uint8)
    scores = torch.rand(2, 8, 10)
    before = scores.clone()
    assert pamr(image, scores, SMALL).shape == (2, 16, 20)
    assert torch.equal(scores, before)
