"""Ranges of figures: replicates against images that are really drawn again, and whether ranges hold the figure."""

import numpy as np
import pytest

from converters.metrics.bootstrap import FEWEST_IMAGES, REPLICATES, ReplicateSums, _draws, interval_of
from ovdiff.evaluation.asked_words import RATES, AskedWord
from ovdiff.evaluation.figures import ImageFigures, SmallVocabulary
from ovdiff.evaluation.ranges import FigureBootstrap, difference_ranges, ranges_of
from ovdiff.evaluation.sums import totals_of
from ovdiff.vocabulary import Category

CATEGORIES = (Category("boat", kind="thing"), Category("car", kind="thing"), Category("sky", kind="stuff"))
MEASURES = (
    "miou", "miou_without_background", "pixel_accuracy", "mean_accuracy", "boundary_iou", "pq", "sq", "rq", "pq_things",
    "pq_stuff",
)  # fmt: skip


def drawn(rng: np.random.Generator, name: str, more: int = 0) -> ImageFigures:
    """Return the figures of an image with some labels, of which ``more`` more pixels are right than usual."""
    labels = [0, *(label for label in (1, 2, 3) if rng.random() < 0.6)]
    pixels, boundaries, segments = [], [], []
    for label in labels:
        right = int(rng.integers(20, 60)) + more
        other = int(rng.choice([each for each in range(4) if each != label]))
        pixels += [(label, label, right), (label, other, 80 - right)]
        if label:
            boundaries.append((label, int(rng.integers(5, 15)) + more // 4, 25))
            hits = int(rng.integers(0, 3))
            fit = float(rng.uniform(0.55, 0.95))
            segments.append((label, hits, int(rng.integers(0, 2)), int(rng.integers(0, 2)), fit * hits))
    words = tuple(
        (label, AskedWord(0.3 * (label in labels), float(rng.choice((0.0, 0.1, 0.2))), float(rng.random()), 0.5))
        for label in (1, 3)
    )
    scores = tuple((label, 0.5) for label in labels if label)
    return ImageFigures(
        name, (10, 10), tuple(pixels), tuple(boundaries), scores, tuple(segments), small=(SmallVocabulary(2, words),)
    )


def images(count: int, seed: int = 0, more: int = 0) -> list[ImageFigures]:
    rng = np.random.default_rng(seed)
    return [drawn(rng, str(number), more) for number in range(count)]


def bootstrap(figures: list[ImageFigures]) -> FigureBootstrap:
    made = FigureBootstrap(CATEGORIES)
    for image in figures:
        made.add(image, image.confusion(3))
    return made


@pytest.mark.parametrize("counts_background", [True, False])
def test_each_replicate_has_the_figures_of_the_images_that_it_draws(counts_background: bool) -> None:
    figures = images(14)
    totals = totals_of(figures, CATEGORIES, counts_background=counts_background)
    measures, words = totals.replicates.measures(), totals.replicates.words()
    assert tuple(measures) == MEASURES and set(words) == {"all", "2"}
    for replicate in (0, 17, REPLICATES - 1):
        again = [image for number, image in enumerate(figures) for _ in range(int(_draws(number)[replicate]))]
        theirs = totals_of(again, CATEGORIES, counts_background=counts_background).measures
        assert [measures[name][replicate] for name in MEASURES] == pytest.approx(
            [getattr(theirs, name) for name in MEASURES]
        )
        assert theirs.words is not None
        for size, rates in words.items():
            for name in RATES:
                assert rates[name][replicate] == pytest.approx(theirs.words[size][name], nan_ok=True), (size, name)


def test_the_ranges_stand_beside_the_figures() -> None:
    totals = totals_of(images(40), CATEGORIES)
    assert totals.measures.intervals.keys() == set(MEASURES)
    for name, interval in totals.measures.intervals.items():
        assert interval is not None and interval[0] < getattr(totals.measures, name) < interval[1], name
    assert totals.measures.miou_interval == totals.measures.intervals["miou"]
    assert totals.measures.words is not None
    for size, rates in totals.measures.word_intervals.items():
        low, high = rates["iou of the present"] or (1.0, 0.0)
        assert low < (totals.measures.words[size]["iou of the present"] or 0.0) < high
    background, *others = totals.categories
    assert (background.intervals["boundary_iou"], background.intervals["pq"]) == (None, None)
    for row in others:
        for name, interval in row.intervals.items():
            assert interval is not None and interval[0] < getattr(row, name) < interval[1], (row.name, name)


def test_few_images_have_no_ranges() -> None:
    few = totals_of(images(FEWEST_IMAGES - 1), CATEGORIES).measures
    assert few.intervals == {} and few.word_intervals == {} and few.miou_interval is None
    figures = images(FEWEST_IMAGES)
    without = [ImageFigures(each.image, each.size_hw, each.pixels, each.boundaries, ()) for each in figures]
    assert "pq" not in totals_of(without, CATEGORIES).measures.intervals
    assert "pixel_accuracy" in totals_of(without, CATEGORIES).measures.intervals


def test_a_rate_of_nothing_has_no_range() -> None:
    nothing = [ImageFigures(str(number), (2, 2), ((0, 0, 4),), (), ()) for number in range(12)]
    measures = totals_of(nothing, CATEGORIES).measures
    assert measures.intervals["miou_without_background"] is None
    assert measures.word_intervals["all"]["present painted"] is None
    assert measures.word_intervals["all"]["absent painted"] == (0.0, 0.0)


@pytest.fixture(scope="module")
def expected() -> dict[str, float]:
    """What the figures are over very many images."""
    measures = totals_of(images(1500, seed=10**6), CATEGORIES).measures
    assert measures.words is not None
    words = {f"{size}: {name}": measures.words[size][name] or 0.0 for size in measures.words for name in RATES}
    assert words.pop("all: present painted") == 1.0, "it varies in the small vocabularies alone"
    return words | {name: getattr(measures, name) for name in MEASURES}


def test_ranges_hold_the_figure_of_all_images_in_about_95_of_100_cases(expected: dict[str, float]) -> None:
    held, cases = dict.fromkeys(expected, 0), 100
    for seed in range(cases):
        found = bootstrap(images(40, seed))
        ranges = ranges_of(found.measures())
        words = found.words().items()
        ranges |= {f"{size}: {name}": interval_of(each) for size, of in words for name, each in of.items()}
        for name, value in expected.items():
            interval = ranges[name]
            assert interval is not None, name
            held[name] += interval[0] <= value <= interval[1]
    shares = {name: count / cases for name, count in held.items()}
    assert {name: share for name, share in shares.items() if not 0.88 <= share <= 0.99} == {}


def test_a_difference_is_that_of_the_same_images_drawn_again_for_both() -> None:
    first, second = images(30), images(30, more=8)
    found = difference_ranges(bootstrap(first).measures(), bootstrap(second).measures())
    apart = ranges_of(bootstrap(second).measures())["pixel_accuracy"]
    assert apart is not None and apart[1] - apart[0] > 0.02
    assert found["pixel_accuracy"] == pytest.approx((0.1, 0.1), abs=1e-9), "eight of 80 pixels in every image"
    assert found["sq"] == pytest.approx((0.0, 0.0), abs=1e-9)


def test_sums_are_weighted_by_how_often_a_replicate_draws_an_image() -> None:
    sums = ReplicateSums(2, 3)
    sums.add(0, np.array([2]), np.array([[5], [7]]))
    sums.add(1, np.array([0, 2]), np.array([[1, 2], [3, 4]]))
    assert sums.sums.shape == (2, REPLICATES, 3) and not sums.sums[:, :, 1].any()
    assert np.array_equal(sums.sums[0, :, 2], 5 * _draws(0) + 2 * _draws(1))
    assert np.array_equal(sums.sums[1, :, 0], 3 * _draws(1))
