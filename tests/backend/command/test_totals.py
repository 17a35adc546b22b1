import numpy as np

from backend.command.totals import Totals
from ovdiff.segmentation import Segmentation


def test_scores_are_means_over_all_pixels_of_a_category() -> None:
    totals = Totals(["boat", "not there at all"])
    for labels, score in (([[1, 1, 1, 0]], 0.8), ([[1, 0, 0, 0]], 0.4), ([[0, 0, 0, 0]], 0.4)):
        scores = np.full((1, 4), score, dtype=np.float32)
        totals.add(Segmentation(np.array(labels, dtype=np.int32), scores, scores))
    assert totals.segmented == 3
    assert [line.split("  ")[0] for line in totals.table().splitlines()] == ["category", "boat", "not there at all"]
    assert [line.split()[-3:] for line in totals.table().splitlines()[1:]] == [
        ["2", "33.3%", "0.70"], ["0", "0.0%", "0.00"]
    ]  # fmt: skip
