import math

import pytest
import torch
from torch import Tensor

from ovdiff.odise.naming import (
    Label,
    LabelTexts,
    branch_logits,
    fuse,
    fusion_weights,
    null_probability,
    shares_a_synonym,
)

CAR = Label("car", ("car", "Automobile"), False)
SKY = Label("sky", ("sky",), True)
FISH = Label("fish", ("fish", "trout"), False)
SNOW = Label("snow", ("snow",), True)


def softmax(values: list[float]) -> list[float]:
    total = math.fsum(math.exp(value) for value in values)
    return [math.exp(value) / total for value in values]


def fused_slowly(
    diffusion: Tensor, void: Tensor, clip: Tensor | None, weights: list[float], asked: int
) -> tuple[list[list[float]], list[float]]:
    """C.3, query by query: log p = (1 - a) log p_d + a log p_c, softmax, times the probability of something."""
    names, voids = [], []
    for query in range(len(diffusion)):
        p_d = softmax(diffusion[query].tolist())
        p_c = p_d if clip is None else softmax(clip[query].tolist())
        logs = [(1 - a) * math.log(d) + a * math.log(c) for a, d, c in zip(weights, p_d, p_c, strict=True)]
        something = 1 - float(void[query])
        p = [something * share for share in softmax(logs)]
        names.append(p[:asked])
        voids.append(float(void[query]) + sum(p[asked:]))
    return names, voids


@pytest.mark.parametrize("asked", [1, 3, 5])
@pytest.mark.parametrize("with_clip", [True, False])
def test_fusion_is_what_the_paper_writes(asked: int, with_clip: bool) -> None:
    torch.manual_seed(0)
    diffusion, clip, void = 4 * torch.randn(7, 5).double(), 4 * torch.randn(7, 5).double(), torch.rand(7).double()
    weights = [0.3, 0.7, 0.0, 1.0, 0.3]
    seen = clip if with_clip else None
    names, voids = fused_slowly(diffusion, void, seen, weights, asked)
    found = fuse(diffusion, void, seen, torch.tensor(weights).double(), asked)
    assert torch.allclose(found.names, torch.tensor(names).double(), atol=1e-12)
    assert torch.allclose(found.void, torch.tensor(voids).double(), atol=1e-12)
    assert torch.allclose(found.names.sum(dim=1) + found.void, torch.ones(7).double())


def test_what_the_void_takes_is_taken_from_all_labels_alike() -> None:
    logits = torch.randn(4, 3)
    weights = torch.full((3,), 0.3)
    sure = fuse(logits, torch.zeros(4), logits, weights, 3).names
    unsure = fuse(logits, torch.full((4,), 0.75), logits, weights, 3).names
    assert torch.allclose(unsure, sure / 4)


def test_the_null_text_competes_with_the_labels() -> None:
    logits, null = torch.randn(6, 4).double(), torch.randn(6).double()
    found = null_probability(logits, null)
    for query in range(6):
        expected = softmax([*logits[query].tolist(), float(null[query])])[-1]
        assert float(found[query]) == pytest.approx(expected, abs=1e-12)


def test_a_label_has_the_best_of_its_synonyms() -> None:
    texts = LabelTexts(torch.zeros(5, 2), torch.tensor([1, 0, 1, 2, 0]), 3)
    scores = torch.tensor([[1.0, 2.0, 3.0, -9.0, 1.5], [5.0, -1.0, 4.0, 0.0, -2.0]])
    assert branch_logits(scores, texts).tolist() == [[2.0, 3.0, -9.0], [-1.0, 5.0, 0.0]]


def test_one_shared_synonym_is_enough_and_case_does_not_matter() -> None:
    known = frozenset({"automobile", "trout"})
    assert shares_a_synonym(CAR, known)
    assert shares_a_synonym(FISH, known)
    assert not shares_a_synonym(SKY, known)
    assert not shares_a_synonym(Label("car", ("vehicle",), False), frozenset({"car"}))  # the name alone is no synonym


def test_known_labels_weigh_alpha_and_others_beta() -> None:
    known = frozenset({"automobile", "sky"})
    labels = [CAR, SKY, FISH, SNOW]
    weights = fusion_weights(labels, known, 0.25, 0.75, stuff=True)
    assert weights.tolist() == [0.25, 0.25, 0.75, 0.75]
    without = fusion_weights(labels, known, 0.25, 0.75, stuff=False)
    assert without.tolist() == [0.25, 0.0, 0.75, 0.75]  # of stuff that the training did not know, CLIP alone can tell
