from dataclasses import replace

import numpy as np

from benchmarks.asked_words import SceneWord, compare
from ovdiff import Category, Segmentation, Vocabulary

BOAT_CAR_SKY = Vocabulary((Category("boat"), Category("car"), Category("sky")))


def segmentation(label_map: np.ndarray, scores: float = 0.5) -> Segmentation:
    filled = np.full(label_map.shape, scores, dtype=np.float32)
    return Segmentation(label_map.astype(np.int32), filled, filled)


def test_masks_are_compared_word_by_word() -> None:
    truth, found = np.zeros((10, 10), np.int32), np.zeros((10, 10), np.int32)
    truth[:4] = 1
    found[2:4], found[4:7] = 1, 2
    boat, car, sky = compare(7, BOAT_CAR_SKY, truth, segmentation(found))
    assert boat.evidence is not None
    assert replace(boat, evidence=None) == SceneWord(
        truth=0.4, painted=0.2, iou=0.5, score=0.5, scene=7, vocabulary=("boat", "car", "sky"), name="boat"
    )
    assert (car.truth, car.painted, car.iou, car.score) == (0, 0.3, 0, 0.5)
    assert (sky.painted, sky.iou, sky.score, sky.kind) == (0, 0, 0, "stuff")
