import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backend.command.instances import instances_of, without_low_scores
from backend.serving.predicting.limits import shown_score
from ovdiff.segmentation import Segmentation


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.booleans())
def test_what_is_left_are_the_masks_or_parts_with_a_high_score(seed: int, least: float, split_parts: bool) -> None:
    random = np.random.default_rng(seed)
    label_map = random.integers(0, 3, (7, 9)).astype(np.int32)
    scores = random.random((7, 9)).astype(np.float32)
    before = Segmentation(label_map.copy(), scores, scores)
    after, hidden = without_low_scores(before, [least, 0.0], split_parts=split_parts)
    assert np.array_equal(after.mask(1), before.mask(1))  # of the other category
    if split_parts:
        kept = [part for part in instances_of(before, 0) if shown_score(part.score) >= least]
        assert [part.rle for part in instances_of(after, 0)] == [part.rle for part in kept]
        assert hidden == len(list(instances_of(before, 0))) - len(kept)
    else:
        is_low = bool(before.mask(0).any()) and shown_score(before.category_score(0)) < least
        assert np.array_equal(after.mask(0), before.mask(0) & (not is_low))
        assert hidden == is_low
    assert np.array_equal(before.label_map, label_map)  # the argument stays as it was
