import math

import pytest
import torch
from torch import Tensor

from ovdiff.odise.training.grounding import grounding, grounding_loss, true_of_others


def fit_slowly(scores: Tensor, image: int, caption: int, masks: list[int] | None = None) -> float:
    """C.2: g = 1/K sum_k sum_i softmax_i(u_ik) u_ik, the softmax over masks (those that count)."""
    total = 0.0
    words = scores.shape[3]
    for word in range(words):
        u = [float(scores[image, i, caption, word]) for i in masks or range(scores.shape[1])]
        norm = math.fsum(math.exp(value) for value in u)
        total += math.fsum(math.exp(value) / norm * value for value in u)
    return total / words


def loss_slowly(scores: Tensor, excused: Tensor) -> float:
    count = len(scores)
    fits = [[fit_slowly(scores, image, caption) for caption in range(count)] for image in range(count)]
    total = 0.0
    for own in range(count):
        captions = [j for j in range(count) if j == own or not excused[own, j]]
        images = [i for i in range(count) if i == own or not excused[i, own]]
        total -= fits[own][own] - math.log(math.fsum(math.exp(fits[own][j]) for j in captions))
        total -= fits[own][own] - math.log(math.fsum(math.exp(fits[i][own]) for i in images))
    return total / count / 2


@pytest.fixture
def scores() -> Tensor:
    torch.manual_seed(0)
    return 3 * torch.randn(4, 5, 4, 3).double()


def test_a_caption_fits_an_image_by_the_masks_that_its_words_choose(scores: Tensor) -> None:
    found = grounding(scores)
    for image in range(4):
        for caption in range(4):
            assert float(found[image, caption]) == pytest.approx(fit_slowly(scores, image, caption), abs=1e-12)


def test_masks_that_do_not_count_carry_no_word(scores: Tensor) -> None:
    counted = torch.tensor([[1, 0, 0, 1, 0], [0, 1, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]).bool()
    found = grounding(scores, counted)
    for image in range(4):
        masks = counted[image].nonzero()[:, 0].tolist()
        for caption in range(4):
            assert float(found[image, caption]) == pytest.approx(fit_slowly(scores, image, caption, masks), abs=1e-12)


def test_the_loss_is_the_mean_of_both_directions(scores: Tensor) -> None:
    none = torch.zeros(4, 4, dtype=torch.bool)
    assert float(grounding_loss(scores, none)) == pytest.approx(loss_slowly(scores, none), abs=1e-12)


def test_excused_captions_are_no_negatives_and_an_image_s_own_caption_always_counts(scores: Tensor) -> None:
    excused = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0]]).bool()
    found = float(grounding_loss(scores, excused))
    assert found == pytest.approx(loss_slowly(scores, excused), abs=1e-12)
    assert found < float(grounding_loss(scores, torch.zeros_like(excused)))
    assert float(grounding_loss(scores, torch.ones_like(excused))) == pytest.approx(0.0)


def test_the_loss_pulls_a_word_to_the_mask_that_it_describes(scores: Tensor) -> None:
    learned = scores.clone().requires_grad_()
    grounding_loss(learned, torch.zeros(4, 4, dtype=torch.bool)).backward()
    assert learned.grad is not None
    own = torch.stack([learned.grad[image, :, image] for image in range(4)])
    best = torch.stack([scores[image, :, image] for image in range(4)]).argmax(dim=1, keepdim=True)
    assert (own.gather(1, best) < 0).all()


def test_a_caption_is_true_of_an_image_that_has_all_its_nouns() -> None:
    said = [frozenset({"car"}), frozenset({"car", "sky"}), frozenset[str]()]
    heard = [frozenset({"car", "tree"}), frozenset({"car", "sky"}), frozenset({"fish"})]
    assert true_of_others(said, heard).tolist() == [
        [True, False, True],
        [True, True, True],
        [False, False, True],
    ]
