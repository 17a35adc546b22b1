"""Words that were asked for, and the shares that follow."""

import pytest

from ovdiff.evaluation.asked_words import AskedWord, auroc, random_vocabularies, word_figures
from ovdiff.evaluation.datasets.drawn import USUAL

EVERYTHING = USUAL.vocabulary


def word(*, truth: float, painted: float, iou: float = 0.0, score: float = 0.0) -> AskedWord:
    return AskedWord(truth, painted, iou, score)


def test_a_word_between_absent_and_present_is_neither() -> None:
    seen, glimpsed, unseen = (word(truth=share, painted=0.01) for share in (0.005, 0.0049, 0.0))
    assert [(each.is_present, each.is_absent) for each in (seen, glimpsed, unseen)] == [
        (True, False), (False, False), (False, True),
    ]  # fmt: skip
    assert word_figures([glimpsed])["present painted"] is None
    assert word_figures([glimpsed])["absent painted"] is None


def test_half_a_percent_is_not_painted_and_more_is() -> None:
    assert not word(truth=0, painted=0.005).is_painted
    assert word(truth=0, painted=0.0051).is_painted


def test_figures_of_words() -> None:
    words = [
        word(truth=0.2, painted=0.2, iou=0.8, score=0.9),
        word(truth=0.1, painted=0.0),
        word(truth=0, painted=0.3, score=0.4),
        word(truth=0, painted=0.1, score=0.95),
        word(truth=0, painted=0.001, score=0.99),
        word(truth=0, painted=0),
    ]
    assert word_figures(words) == {
        "present painted": 0.5,
        "absent painted": 0.5,
        "area of the absent": pytest.approx(0.2),
        "auroc": 0.5,  # what is hardly painted has no part in it
        "iou of the present": 0.4,
        "present": 2,
        "absent": 4,
    }


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    assert auroc([0.9, 0.8], [0.1]) == 1
    assert auroc([0.1], [0.8, 0.9]) == 0
    assert auroc([0.5], [0.5]) == 0.5
    assert auroc([0.2, 0.6, 0.6], [0.4, 0.6]) == pytest.approx((0 + 0 + 1 + 0.5 + 1 + 0.5) / 6)
    assert auroc([], [0.5]) is None
    assert auroc([0.5], []) is None


def test_vocabularies_are_the_same_at_every_run_and_differ_between_scenes() -> None:
    asked = random_vocabularies(EVERYTHING, 50_000, 4, 3)
    assert [len(vocabulary.categories) for vocabulary in asked] == [4, 4, 4]
    assert asked == random_vocabularies(EVERYTHING, 50_000, 4, 3)
    assert asked[:2] == random_vocabularies(EVERYTHING, 50_000, 4, 2)
    assert asked != random_vocabularies(EVERYTHING, 50_001, 4, 3)
    assert len(set(asked)) > 1
    assert all(set(vocabulary.categories) <= set(EVERYTHING.categories) for vocabulary in asked)


def test_all_words_are_one_vocabulary() -> None:
    assert random_vocabularies(EVERYTHING, 50_000, 19, 3) == [EVERYTHING]
