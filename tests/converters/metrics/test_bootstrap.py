"""The bootstrap over images against images that are drawn again by hand, and against what must not move it."""

import numpy as np
import pytest

from converters.metrics.bootstrap import FEWEST_IMAGES, IoUBootstrap, _draws


def confusion(hit: int, missed: int, *, of: int = 2) -> np.ndarray:
    """Return an image whose category 1 has `hit` pixels that were found and `missed` that were not."""
    matrix = np.zeros((of + 1, of + 1), dtype=np.int64)
    matrix[0, 0], matrix[1, 1], matrix[1, 0] = 1000, hit, missed
    return matrix


def test_the_interval_is_that_of_images_drawn_again() -> None:
    generator = np.random.default_rng(1)
    hits = generator.integers(0, 101, 60)
    sums = IoUBootstrap(2)
    for hit in hits:
        sums.add(confusion(int(hit), 100 - int(hit)))
    again = [generator.choice(hits, 60).sum() / 6000 for _ in range(4000)]
    _, interval, other = sums.intervals()
    assert interval == pytest.approx(tuple(np.percentile(again, (2.5, 97.5))), abs=0.025)
    assert other is None
    assert sums.images.tolist() == [60, 60, 0]


def test_images_that_are_alike_leave_no_doubt_and_few_leave_nothing_to_say() -> None:
    sums = IoUBootstrap(2)
    for _ in range(FEWEST_IMAGES - 1):
        sums.add(confusion(50, 50))
    assert sums.intervals() == [None] * 3 and sums.mean_interval() is None
    sums.add(confusion(50, 50))
    assert sums.intervals()[1] == pytest.approx((0.5, 0.5))
    background = 1000 / 1050
    assert sums.mean_interval() == pytest.approx(((0.5 + background) / 2,) * 2)


def test_the_same_images_give_the_same_interval() -> None:
    def made() -> object:
        sums = IoUBootstrap(2)
        for hit in range(20):
            sums.add(confusion(hit, 20))
        return sums.intervals(), sums.mean_interval()

    assert made() == made()


def test_images_are_drawn_as_often_as_poisson_says() -> None:
    draws = np.concatenate([_draws(image) for image in range(200)])
    shares = np.bincount(draws.astype(int), minlength=6)[:6] / draws.size
    assert shares == pytest.approx([np.exp(-1) / f for f in (1, 1, 2, 6, 24, 120)], abs=0.005)
    assert not np.array_equal(_draws(0), _draws(1))
