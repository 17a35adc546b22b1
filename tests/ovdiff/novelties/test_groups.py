import numpy as np
import pytest

from ovdiff.novelties import groups
from ovdiff.novelties.groups import Example, NovelRegion, group_regions

WORDS = ("umbrella", "clock", "fish")


def _example(image: str, word: int, novelty: float = 0.9, noise: float = 0.05, seed: int = 0) -> Example:
    """A region that looks like one of three words: its view lies near one of three axes."""
    view = np.eye(8, dtype=np.float32)[word] + noise * np.random.default_rng(seed).normal(size=8).astype(np.float32)
    shares = np.full(3, 0.05, np.float32)
    shares[word] = 0.8
    return Example(image, NovelRegion((0, 0, 1, 1), 0.1, novelty, 0.7, WORDS, shares, view / np.linalg.norm(view)))


def test_regions_that_look_alike_are_a_group_and_an_image_counts_once() -> None:
    clocks = [_example(f"{number}.png", 1, seed=number) for number in range(3)]
    fish = [_example("one.png", 2, novelty, seed=seed) for seed, novelty in enumerate((0.6, 0.9, 0.7, 0.8))]
    first, second = group_regions([*fish, *clocks])
    assert first.looks_like[0][0] == "clock" and first.images == 3 and first.rank == pytest.approx(2.7)
    assert second.looks_like[0] == ("fish", pytest.approx(0.8)) and second.images == 1
    assert second.rank == pytest.approx(0.9)
    assert [example.region.novelty for example in second.examples] == [0.9, 0.8, 0.7, 0.6]
    assert first.likeness == pytest.approx(0.7)


def test_no_region_and_one_region_make_no_group_and_one() -> None:
    assert group_regions([]) == []
    (alone,) = group_regions([_example("a.png", 0)])
    assert alone.looks_like[0][0] == "umbrella" and len(alone.examples) == 1


def test_of_too_many_regions_the_most_novel_are_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MOST_REGIONS", 2)
    (group,) = group_regions([_example(f"{number}", 1, novelty=number / 10) for number in range(5, 10)])
    assert [example.image for example in group.examples] == ["9", "8"]


def test_the_order_of_the_images_does_not_matter() -> None:
    found = [_example(f"{number}.png", number % 3, 0.5 + number / 100, seed=number) for number in range(12)]
    there, back = group_regions(found), group_regions(found[::-1])
    assert [group.looks_like for group in there] == [group.looks_like for group in back]
    assert [group.rank for group in there] == pytest.approx([group.rank for group in back])
