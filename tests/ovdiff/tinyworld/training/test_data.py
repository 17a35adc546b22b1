from pathlib import Path

import numpy as np

from ovdiff.tinyworld.training import data
from ovdiff.tinyworld.world import NAMES


def test_the_training_set_says_what_is_seen(tmp_path: Path) -> None:
    data.main(tmp_path, count=24)
    training_set = data.load_training_set(tmp_path)
    assert len(training_set) == 24
    assert training_set.images.shape == (24, 64, 64, 3)
    assert training_set.label_maps.max() < len(NAMES)
    for i, label_map in enumerate(training_set.label_maps):
        named = {name for name, _ in training_set.things[i]} | set(training_set.regions[i])
        assert named <= {NAMES[label] for label in np.unique(label_map)}
