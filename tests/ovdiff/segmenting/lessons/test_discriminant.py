import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from ovdiff.segmenting.lessons.discriminant import (
    Discriminant,
    Examples,
    LearnedViews,
    Sums,
    best_temperature,
    leave_out,
    sums_of,
)


def _examples(seed: int, counts: tuple[int, ...] = (20, 20, 20), spread: float = 1.0, wobble: float = 0.0) -> Examples:
    """Points of a few groups around corners of a simplex, in five dimensions; with ``wobble`` each corner moves."""
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(counts)), counts)
    points = 3 * np.eye(5)[groups] + spread * random.normal(size=(len(groups), 5))
    points += wobble * random.normal(size=(len(counts), 5))[groups]
    return Examples(torch.from_numpy(points).float(), torch.from_numpy(groups), torch.ones(len(groups)))


class _Covariance(BaseEstimator):  # type: ignore[misc]
    """The covariance about the mean with a share of its mean variance added, for scikit-learn."""

    def __init__(self, added: float = 0.0) -> None:
        self.added = added

    def fit(self, points: np.ndarray) -> "_Covariance":
        self.covariance_ = np.cov(points.T, bias=True) + self.added * np.eye(points.shape[1])
        return self


def test_shares_are_those_of_scikit_learn() -> None:
    examples = _examples(0)
    points, groups = examples.vectors.double().numpy(), examples.groups.numpy()
    added = 0.3 * points.var(axis=0).mean()
    library = LinearDiscriminantAnalysis(
        solver="lsqr", priors=np.full(3, 1 / 3), covariance_estimator=_Covariance(added)
    ).fit(points, groups)
    found = sums_of([examples], 3).discriminant(0.3).log_shares(examples.vectors)
    np.testing.assert_allclose(found.numpy(), library.predict_log_proba(points), atol=1e-3)


def test_leaving_out_is_as_if_the_examples_had_never_been_there() -> None:
    parts = [_examples(seed) for seed in range(4)]
    always = _examples(9, (5, 5, 5))
    for each in leave_out(parts, always, 3, 0.3):
        others = [*parts[: each.part], *parts[each.part + 1 :], always]
        afresh = sums_of(others, 3).discriminant(0.3)
        torch.testing.assert_close(each.discriminant.directions, afresh.directions)
        torch.testing.assert_close(each.discriminant.offsets, afresh.offsets)
        assert torch.equal(each.examples.vectors, parts[each.part].vectors)


def test_examples_of_groups_that_nothing_else_shows_cannot_be_tested() -> None:
    alone = Examples(torch.ones(2, 5), torch.tensor([2, 2]), torch.ones(2))
    first, second = _examples(0, (4, 4)), _examples(1, (4, 4))
    found = leave_out([alone, first, second], None, 3, 0.3)
    assert [each.part for each in found] == [1, 2]
    assert found[0].discriminant.shown.tolist() == [True, True, True]  # the first part does show it
    assert not leave_out([first], None, 3, 0.3)


def test_groups_without_examples_are_never_likely_or_neutral() -> None:
    examples = _examples(0, (10, 10))
    never = sums_of([examples], 4).discriminant(0.3)
    assert never.shown.tolist() == [True, True, False, False]
    assert float(never.log_shares(examples.vectors)[:, 2:].max()) < -1e6
    neutral = sums_of([examples], 4).discriminant(0.3, prior=1.0)
    logits = neutral.logits(examples.vectors)
    assert neutral.shown.all() and torch.allclose(logits[:, 2], logits[:, 3])
    own, other, unknown = logits[:10, 0].mean(), logits[:10, 1].mean(), logits[:10, 2].mean()
    assert own > unknown > other


def test_the_temperature_falls_with_what_left_out_examples_kept() -> None:
    clear = leave_out([_examples(seed, spread=0.3) for seed in range(4)], None, 3, 0.1)
    moved = leave_out([_examples(seed, spread=0.3, wobble=4) for seed in range(4)], None, 3, 0.1)
    turned = [_examples(seed, spread=0.3) for seed in range(3)]
    turned = [Examples(each.vectors, (each.groups + turn) % 3, each.weights) for turn, each in enumerate(turned)]
    assert best_temperature(clear) > 2 * best_temperature(moved)
    assert best_temperature(leave_out(turned, None, 3, 0.1)) == 0 == best_temperature([])


def test_logits_besides_make_up_for_what_examples_cannot_tell() -> None:
    blind = [
        Examples(
            torch.randn(20, 5, generator=torch.Generator().manual_seed(seed)), torch.arange(20) % 2, torch.ones(20)
        )
        for seed in range(3)
    ]
    left_out = leave_out(blind, None, 2, 1.0)
    truth = [20.0 * torch.eye(2)[each.examples.groups] for each in left_out]
    assert best_temperature(left_out, truth) <= 0.1


@given(seed=st.integers(0, 50))
def test_what_is_added_and_taken_out_leaves_nothing(seed: int) -> None:
    sums = Sums(3, 5)
    sums.add(_examples(seed))
    before = sums.discriminant(0.3)
    sums.add(_examples(seed + 100))
    sums.add(_examples(seed + 100), -1.0)
    torch.testing.assert_close(sums.discriminant(0.3).directions, before.directions)


def test_balanced_examples_weigh_the_same_in_each_group() -> None:
    found = _examples(0, (2, 8)).balanced(3, 0.5)
    sums = torch.zeros(3).index_add_(0, found.groups, found.weights)
    assert sums.tolist() == pytest.approx([0.5, 0.5, 0])


def test_views_add_nothing_to_words_that_nobody_taught_them() -> None:
    discriminant = Discriminant(torch.eye(2), torch.zeros(2), torch.ones(2, dtype=torch.bool))
    added = LearnedViews(discriminant, {1: 0, 3: 1}, 10.0).cosines(torch.tensor([[1.0, 0.0]]), [1, 2, 3])
    np.testing.assert_allclose(added, [[0.05, 0, -0.05]])


def test_one_example_a_group_does_not_make_a_discriminant_sure() -> None:
    points = torch.nn.functional.normalize(torch.randn(4, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    lone = Examples(points, torch.arange(4), torch.ones(4))
    logits = sums_of([lone], 4).discriminant(3.0, prior=1.0).logits(points)
    assert float((logits.amax(dim=1) - logits.amin(dim=1)).max()) < 10
