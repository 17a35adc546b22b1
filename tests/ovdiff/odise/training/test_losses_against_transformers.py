"""Our losses are those of transformers' Mask2Former where the definitions coincide: points, one layer, all labelled."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from ovdiff.odise.preset import LossSettings
from ovdiff.odise.training.losses import Matches, Target, mask_loss, match, name_loss, targets_of

SIDE, QUERIES, LABELS, POINTS = 8, 6, 3, 64
SETTINGS = LossSettings(points=POINTS)


@pytest.fixture
def library() -> Mask2FormerLoss:
    config = Mask2FormerConfig(
        num_labels=LABELS,
        train_num_points=POINTS,
        oversample_ratio=SETTINGS.oversample,
        importance_sample_ratio=SETTINGS.importance,
        class_weight=SETTINGS.name,
        mask_weight=SETTINGS.mask,
        dice_weight=SETTINGS.dice,
        no_object_weight=SETTINGS.no_object,
    )
    return Mask2FormerLoss(config, {})


@pytest.fixture
def targets() -> list[Target]:
    numbers = torch.ones(3, SIDE, SIDE, dtype=torch.uint8)  # all of it annotated
    numbers[0, 4:, :3], numbers[0, 6:, 3:], numbers[1, 2:5, 2:7] = 2, 3, 2
    return targets_of(numbers, [[2, 0, 1], [1, 1], [0]])


@pytest.fixture(params=range(3))
def predicted(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    """Mask logits (3, Q, S, S), and logits of labels and nothing (3, Q, K + 1)."""
    torch.manual_seed(request.param)
    return 3 * torch.randn(3, QUERIES, SIDE, SIDE), 2 * torch.randn(3, QUERIES, LABELS + 1)


def _indices(matches: Matches, images: int) -> list[tuple[Tensor, Tensor]]:
    return [(matches.queries[matches.images == i], matches.segments[matches.images == i]) for i in range(images)]


def test_the_matching_is_the_library_s_on_the_same_cells(
    library: Mask2FormerLoss,
    targets: list[Target],
    predicted: tuple[Tensor, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    masks, names = predicted
    places = (torch.arange(SIDE) + 0.5) / SIDE
    centres = torch.cartesian_prod(places, places).flip(1)[None]
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: centres)  # the library compares at random points
    labels, truths = [target.names for target in targets], [target.masks for target in targets]
    expected = library.matcher(masks, names, truths, labels)
    shares = names.softmax(dim=-1)[..., :-1]
    found = _indices(match(masks[None], shares[None], targets, SETTINGS), 3)
    for (queries, segments), (their_queries, their_segments) in zip(found, expected, strict=True):
        assert torch.equal(queries, their_queries)
        assert torch.equal(segments, their_segments)


@pytest.mark.parametrize("points", [POINTS, 16])
def test_the_masks_loss_is_the_library_s_at_the_same_points(
    library: Mask2FormerLoss, targets: list[Target], predicted: tuple[Tensor, Tensor], points: int
) -> None:
    masks, settings = predicted[0], replace(SETTINGS, points=points)
    library.num_points = points
    matches = match(masks[None], None, targets, settings)
    torch.manual_seed(7)
    theirs = library.loss_masks(masks, [target.masks for target in targets], _indices(matches, 3), 6)
    torch.manual_seed(7)
    found = mask_loss(masks[None], matches, targets, settings)
    assert float(found) == pytest.approx(5 * float(theirs["loss_mask"]) + 5 * float(theirs["loss_dice"]), rel=1e-5)


def test_the_names_loss_is_the_library_s_where_all_is_labelled(
    library: Mask2FormerLoss, targets: list[Target], predicted: tuple[Tensor, Tensor]
) -> None:
    masks, names = predicted
    matches = match(masks[None], None, targets, SETTINGS)
    theirs = library.loss_labels(names, [target.names for target in targets], _indices(matches, 3))
    for void in ("negative", "ignore", "nameless"):
        settings = replace(SETTINGS, void=void)  # type: ignore[arg-type]
        found = name_loss(names[None, ..., :-1], names[None, ..., -1], masks[None], matches, targets, settings)
        assert float(found) == pytest.approx(float(theirs["loss_cross_entropy"]), rel=1e-5)
