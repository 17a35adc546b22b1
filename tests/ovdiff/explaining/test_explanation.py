"""What an explanation says of itself: shares, leads, names."""

import numpy as np
import pytest

from ovdiff.explaining.explanation import Explanation, Prototype, Removal, Rival, Stage, Vote
from ovdiff.segmentation import Segmentation


def _explanation(scores: list[tuple[float, ...]], runner_up: int | None) -> Explanation:
    blank = np.zeros((2, 2), dtype=np.float32)
    votes = tuple(Vote("clip", (0, 0, 2, 2), 1 / len(scores), each, {}) for each in scores)
    return Explanation(
        np.ones((2, 2), dtype=bool),
        (Rival("background", 0, False, 0.0), Rival("boat", 1, False, 0.0)),
        1,
        runner_up,
        1,
        votes,
        (Stage("votes", 1, 1.0, 0.0, (0.0, 0.0)), Stage("small parts", 0, 0.75, 0.75, ())),
        (),
        None,
        Segmentation(np.zeros((2, 2), dtype=np.int32), blank, blank),
        ("boat",),
    )


def test_shares_sum_to_one_and_leads_to_the_margin() -> None:
    found = _explanation([(0.2, 0.6), (0.4, 0.2), (0.0, 0.4)], 0)
    assert found.shares(1) == pytest.approx([0.5, 1 / 6, 1 / 3])
    assert found.leads() == pytest.approx([0.4 / 3, -0.2 / 3, 0.4 / 3])
    assert sum(found.leads()) == pytest.approx(1.2 / 3 - 0.6 / 3)


def test_a_negative_vote_has_a_negative_share() -> None:
    assert _explanation([(0.0, 0.3), (0.0, -0.1)], 0).shares(1) == pytest.approx([0.75, -0.25])
    assert _explanation([(0.0, 0.0)], 0).shares(1) == [0.0]


def test_finalists_are_named_once_and_without_a_runner_up_nobody_leads() -> None:
    assert _explanation([(0.2, 0.6)], 0).finalists() == (1, 0)
    alone = _explanation([(0.2, 0.6)], None)
    assert alone.finalists() == (1,) and alone.leads() == [0.0]


def test_the_label_is_that_of_the_last_stage() -> None:
    assert _explanation([(0.2, 0.6)], 0).label == "background"


@pytest.mark.parametrize(
    ("prototype", "name"),
    [
        (Prototype("clip", "boat", "foreground", "class", 0), "mean of boat"),
        (Prototype("clip", "boat", "foreground", "instance", 4, image=3), "image 3 of boat"),
        (Prototype("clip", "boat", "background", "part", 12), "part 12 of boat's background"),
    ],
)
def test_prototypes_have_names_for_people(prototype: Prototype, name: str) -> None:
    assert str(prototype) == name


def test_a_removal_says_by_how_much_it_fell_short() -> None:
    assert Removal("boat", False, "average", 0.2, 0.25, 0.7, True).short_by == pytest.approx(0.05)
