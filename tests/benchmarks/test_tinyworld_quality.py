from typing import Any, cast

import numpy as np
import pytest

from benchmarks.drawn_world import EVERYTHING, Bench, Scenes, true_labels
from benchmarks.tinyworld_quality import miou, score, table, without_background
from ovdiff import Segmentation, Vocabulary
from ovdiff.tinyworld.world import NAMES

BOAT, SKY = NAMES.index("boat"), NAMES.index("sky")


class Sure:
    """Paints boats with score .9 and takes all else for sky, with score .5."""

    def label(self, encoded: Any, vocabulary: Vocabulary) -> Segmentation:
        labels, sky = true_labels(encoded, vocabulary), SKY + 1
        found = np.where(labels == BOAT + 1, labels, sky)
        scores = np.where(labels == BOAT + 1, 0.9, 0.5).astype(np.float32)
        return Segmentation(found, scores, scores)


class SureBench:
    def __init__(self) -> None:
        self.asked: list[Any] = []

    def engine(self, changes: Any) -> Sure:
        self.asked.append(changes)
        return Sure()


def scenes() -> Scenes:
    label_map = np.full((4, 4), NAMES.index("floor"), np.uint8)
    label_map[:2] = BOAT
    return Scenes((0,), (), cast(Any, (label_map,)), (label_map,))


def test_a_variant_changes_the_preset_and_is_scored_with_background() -> None:
    bench = SureBench()
    changes = {"matching": {"kinds": ("class",)}, "refine": {"pamr": True}}
    found = score(cast(Bench, bench), scenes(), EVERYTHING, ["clip"], changes)
    assert found == pytest.approx(1 / 3)  # boat is right, sky and background are not
    assert bench.asked == [{"matching": {"extractors": ("clip",), "kinds": ("class",)}, "refine": {"pamr": True}}]


def test_the_threshold_is_the_one_that_is_best_on_other_scenes() -> None:
    value, threshold = without_background(cast(Bench, SureBench()), scenes(), scenes(), EVERYTHING, ["clip"])
    assert value == 1
    assert 0.5 < threshold < 0.9


def test_unions_are_summed_over_scenes() -> None:
    truths = [np.array([[1, 1]]), np.array([[0, 0]])]
    predicted = [np.array([[1, 0]]), np.array([[0, 0]])]
    only = Vocabulary(EVERYTHING.categories[:1])
    assert miou(only, truths, predicted) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_table_of_both_vocabularies() -> None:
    by_seed = {
        42: {"things: SD": 0.5, "things: SD: threshold": 0.7, "all 19, preset: SD": 0.6, "all 19: SD, none": 0.4},
        43: {"things: SD": 0.7, "things: SD: threshold": 0.7, "all 19, preset: SD": 0.6, "all 19: SD, none": 0.4},
    }
    assert table(by_seed).splitlines()[2:] == [
        "| SD | .600 ± .100 | – | – | .600 ± .000 |",
        "| SD, none | – | .400 ± .000 | – | – |",
    ]
