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


def pair(hits: np.ndarray, others: np.ndarray) -> tuple[IoUBootstrap, IoUBootstrap]:
    """Return two methods on the same images of 100 px each, of which they find so many."""
    sums = IoUBootstrap(2), IoUBootstrap(2)
    for counts in zip(hits, others, strict=True):
        for method, hit in zip(sums, counts, strict=True):
            method.add(confusion(int(hit), 100 - int(hit)))
    return sums


def test_the_interval_of_a_difference_is_that_of_the_same_images_drawn_again_for_both() -> None:
    generator = np.random.default_rng(2)
    hard = generator.integers(0, 90, 60)
    easier = hard + generator.integers(0, 11, 60)
    first, second = pair(hard, easier)
    chosen = generator.integers(0, 60, (4000, 60))
    again = (easier[chosen].sum(axis=1) - hard[chosen].sum(axis=1)) / 6000
    _, interval, other = second.differences_from(first)
    assert interval == pytest.approx(tuple(np.percentile(again, (2.5, 97.5))), abs=0.004)
    assert interval is not None and interval[1] - interval[0] < 0.03, "what is hard for both cancels out"
    assert other is None, "a category that never occurs"
    mean = second.mean_difference_from(first, with_background=False)
    assert mean == pytest.approx(interval), "of one category it is the same"
    backward = first.differences_from(second)[1]
    assert backward is not None and backward == pytest.approx((-interval[1], -interval[0]))


def test_few_images_give_no_interval_of_a_difference() -> None:
    first, second = pair(np.full(FEWEST_IMAGES - 1, 50), np.full(FEWEST_IMAGES - 1, 60))
    assert second.differences_from(first) == [None] * 3 and second.mean_difference_from(first) is None


@pytest.mark.parametrize(("planted", "clear"), [(0, (0.0, 0.12)), (6, (0.9, 1.0))])
def test_intervals_of_differences_hold_the_planted_one_in_about_95_of_100_cases(
    planted: int, clear: tuple[float, float]
) -> None:
    held, excluding_zero, cases = 0, 0, 150
    for seed in range(cases):
        generator = np.random.default_rng(seed)
        hard = generator.integers(15, 85, 40)
        others = hard + generator.integers(-12, 13, 40) + planted
        first, second = pair(hard, others)
        interval = second.differences_from(first)[1]
        assert interval is not None
        held += interval[0] <= planted / 100 <= interval[1]
        excluding_zero += not interval[0] <= 0 <= interval[1]
    assert 0.88 <= held / cases <= 0.99
    assert clear[0] <= excluding_zero / cases <= clear[1]
