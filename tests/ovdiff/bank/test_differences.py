from dataclasses import replace

import numpy as np
import pytest

from ovdiff.bank.card import Card
from ovdiff.bank.differences import card_differences, moves
from ovdiff.bank.prototypes import FeatureSpacePrototypes, Prototypes, PrototypeSet

CARD = Card(
    "boat",
    "tinyworld",
    ("boat",),
    {"generation": {"seed": 42, "steps": 12}, "prototypes": {"parts": 8}},
    {"clip": {"weights": "abc"}},
    support_key="ab" * 32,
    image_seeds=(1, 2, 3),
)


def _rows(*vectors: tuple[float, ...], kinds: tuple[int, ...]) -> Prototypes:
    return Prototypes(np.array(vectors, np.float32), np.array(kinds, np.uint8), np.full(len(kinds), -1, np.int32))


EMPTY = Prototypes(np.zeros((0, 2), np.float32), np.zeros(0, np.uint8), np.zeros(0, np.int32))


def test_only_what_differs_is_said_by_name() -> None:
    assert card_differences(CARD, CARD) == ()
    other = replace(
        CARD,
        phrases=("ship", "boat"),
        parameters={"generation": {"seed": 43, "steps": 12}, "prototypes": {"parts": 8}, "support": {"erode": True}},
        models={"clip": {"weights": "xyz"}},
        curation={"version": 1, "rejected": [3, 7], "exemplars": ["cd" * 32], "draw": False},
    )
    found = {each.what: (each.first, each.second) for each in card_differences(CARD, other)}
    assert found == {
        "phrases": ("boat", "ship; boat"),
        "settings generation.seed": ("42", "43"),
        "settings support.erode": ("", "True"),
        "weights clip.weights": ("abc", "xyz"),
        "images rejected": ("", "3, 7"),
        "exemplars": ("", "cd" * 6),
        "drawn": ("yes", "no"),
    }


def test_the_prototype_that_is_farthest_from_all_of_the_other_set_is_named() -> None:
    first = _rows((1, 0), (0, 2), (3, 0), (1, 1), kinds=(0, 1, 2, 2))
    second = _rows((1, 1), (2, 0), kinds=(0, 2))
    one = PrototypeSet({"clip": FeatureSpacePrototypes(first, EMPTY), "dino": FeatureSpacePrototypes(first, first)})
    other = PrototypeSet({"clip": FeatureSpacePrototypes(second, second)})
    foreground, background = moves(one, other)
    assert (foreground.extractor, foreground.side, foreground.most_changed) == ("clip", "foreground", "instance 0")
    half = 2**-0.5
    assert (foreground.moved, foreground.farthest) == (pytest.approx(half), pytest.approx(half))
    assert foreground.nearest == pytest.approx((1 + half + 1 + 1) / 4)
    assert (background.moved, background.most_changed) == (None, "")
    same = moves(other, other)[0]
    assert (same.moved, same.nearest, same.farthest) == (pytest.approx(1), pytest.approx(1), pytest.approx(1))
    parts = moves(PrototypeSet({"clip": FeatureSpacePrototypes(first, EMPTY)}), PrototypeSet(
        {"clip": FeatureSpacePrototypes(_rows((0, 1), (1, 0), kinds=(0, 2)), EMPTY)}))[0]  # fmt: skip
    assert parts.most_changed == "part 1"


def test_spaces_of_other_depths_are_not_compared() -> None:
    wide = _rows((1, 0, 0), kinds=(0,))
    narrow = _rows((1, 0), kinds=(0,))
    one, other = (PrototypeSet({"clip": FeatureSpacePrototypes(each, each)}) for each in (wide, narrow))
    assert moves(one, other) == ()
