import numpy as np
import torch

from ovdiff.tinyworld.training import clip
from ovdiff.tinyworld.world import THINGS


def test_rivals_of_the_exact_caption_are_wrong() -> None:
    for seed in range(10):
        exact, *wrong = clip._rivals(np.random.default_rng(seed), [("ball", "red"), ("tree", "green")])

        def things(caption: str) -> set[str]:
            return set(caption.split()) & set(THINGS)

        assert things(exact) == {"ball", "tree"}
        assert all(things(caption) != {"ball", "tree"} for caption in wrong)


def test_a_caption_true_of_another_image_is_no_negative() -> None:
    logits = torch.tensor([[5.0, 5.0], [0.0, 5.0]])
    shared = torch.tensor([[True, True], [False, True]])
    assert clip._contrast(logits, shared) < clip._contrast(logits, torch.eye(2, dtype=torch.bool))
