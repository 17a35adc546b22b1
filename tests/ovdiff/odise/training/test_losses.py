import itertools
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ovdiff.odise.mask_generator import Masks
from ovdiff.odise.preset import LossSettings
from ovdiff.odise.training.examples import NAMELESS
from ovdiff.odise.training.losses import (
    Matches,
    Target,
    mask_loss,
    match,
    name_loss,
    objectness_loss,
    stacked,
    targets_of,
)

SETTINGS = LossSettings(points=0)
LAYERS, IMAGES, QUERIES, LABELS, SIDE = 2, 2, 5, 3, 8


@pytest.fixture(params=range(3))
def logits(request: pytest.FixtureRequest) -> Tensor:
    torch.manual_seed(request.param)
    return 3 * torch.randn(LAYERS, IMAGES, QUERIES, SIDE, SIDE)


@pytest.fixture
def targets() -> list[Target]:
    numbers = torch.zeros(IMAGES, SIDE, SIDE, dtype=torch.uint8)
    numbers[0, :4], numbers[0, 4:, :3], numbers[0, 6:, 3:] = 1, 2, 3
    numbers[1, 2:5, 2:7] = 1
    return targets_of(numbers, [[2, 0, 1], [1]])


def all_matches(found: Matches) -> list[tuple[int, int, int, int]]:
    return list(zip(*(each.tolist() for each in found), strict=True))


def mask_costs_slowly(logits: Tensor, truth: Tensor) -> tuple[float, float]:
    """Binary cross-entropy, and dice with 1 added above and below."""
    entropy = overlap = total = 0.0
    pairs = list(zip(logits.flatten().double().tolist(), truth.flatten().tolist(), strict=True))
    for x, y in pairs:
        share = 1 / (1 + math.exp(-x))
        entropy -= y * math.log(share) + (1 - y) * math.log(1 / (1 + math.exp(x)))
        overlap += share * y
        total += share + y
    return entropy / len(pairs), 1 - (2 * overlap + 1) / (total + 1)


def test_targets_are_masks_names_and_what_is_labelled(targets: list[Target]) -> None:
    assert [target.names.tolist() for target in targets] == [[2, 0, 1], [1]]
    assert targets[0].masks.sum(dim=(1, 2)).tolist() == [32, 12, 10]
    assert targets[0].labelled.sum() == 54
    assert targets[1].masks.shape == (1, SIDE, SIDE)


def test_matching_is_the_cheapest_of_all_assignments(logits: Tensor, targets: list[Target]) -> None:
    named = torch.rand(LAYERS, IMAGES, QUERIES, LABELS)
    found = all_matches(match(logits, named, targets, SETTINGS))
    for layer, image in itertools.product(range(LAYERS), range(IMAGES)):
        target = targets[image]
        costs = [
            [
                SETTINGS.mask * entropy
                + SETTINGS.dice * dice
                - SETTINGS.name * float(named[layer, image, query, int(target.names[segment])])
                for segment in range(len(target.names))
                for entropy, dice in [mask_costs_slowly(logits[layer, image, query], target.masks[segment])]
            ]
            for query in range(QUERIES)
        ]
        orders = itertools.permutations(range(QUERIES), len(target.names))
        best = min(orders, key=lambda order: sum(costs[query][segment] for segment, query in enumerate(order)))
        chosen = {(segment, query) for lay, img, query, segment in found if (lay, img) == (layer, image)}
        assert chosen == set(enumerate(best))


def test_without_names_masks_alone_decide(logits: Tensor, targets: list[Target]) -> None:
    found = all_matches(match(logits, None, targets, SETTINGS))
    even = torch.full((LAYERS, IMAGES, QUERIES, LABELS), 1 / LABELS)
    assert found == all_matches(match(logits, even, targets, SETTINGS))


def test_the_name_of_a_nameless_segment_costs_nothing(logits: Tensor, targets: list[Target]) -> None:
    nameless = [replace(target, names=torch.full_like(target.names, NAMELESS)) for target in targets]
    named = torch.rand(LAYERS, IMAGES, QUERIES, LABELS) * 50
    found = all_matches(match(logits, named, nameless, SETTINGS))
    assert found == all_matches(match(logits, None, targets, SETTINGS))


def test_masks_are_compared_whole(logits: Tensor, targets: list[Target]) -> None:
    matches = match(logits, None, targets, SETTINGS)
    total = 0.0
    for layer, image, query, segment in all_matches(matches):
        entropy, dice = mask_costs_slowly(logits[layer, image, query], targets[image].masks[segment])
        total += (SETTINGS.mask * entropy + SETTINGS.dice * dice) / 4  # segments of the batch
    assert float(mask_loss(logits, matches, targets, SETTINGS)) == pytest.approx(total, rel=1e-4)


def test_masks_are_compared_at_points_most_of_them_where_the_mask_is_unsure(
    logits: Tensor, targets: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, points=40)
    matches = match(logits, None, targets, settings)
    drawn: list[Tensor] = []
    rand = torch.rand
    monkeypatch.setattr(torch, "rand", lambda *args, **more: drawn.append(rand(*args, **more)) or drawn[-1])  # type: ignore[func-returns-value]
    found = float(mask_loss(logits, matches, targets, settings))
    candidates, random = drawn
    assert (candidates.shape[1:], random.shape[1:]) == ((120, 2), (10, 2))

    def value_at(grid: Tensor, point: Tensor) -> Tensor:
        return F.grid_sample(grid[None, None], 2 * point[None, None, None] - 1, align_corners=False).flatten()[0]

    total = 0.0
    for number, (layer, image, query, segment) in enumerate(all_matches(matches)):
        mask, truth = logits[layer, image, query], targets[image].masks[segment]
        unsure = sorted(candidates[number], key=lambda point: abs(float(value_at(mask, point))))[:30]
        points = [*unsure, *random[number]]
        predicted, wanted = (torch.stack([value_at(grid, point) for point in points]) for grid in (mask, truth))
        entropy, dice = mask_costs_slowly(predicted, wanted)
        total += (settings.mask * entropy + settings.dice * dice) / 4
    assert found == pytest.approx(total, rel=1e-4)


def name_loss_slowly(
    names: Tensor, null: Tensor, logits: Tensor, matches: Matches, targets: list[Target], settings: LossSettings
) -> float:
    """C.2 with each rule for what is not annotated, query by query."""
    of_query = {(lay, img, query): segment for lay, img, query, segment in all_matches(matches)}
    total = 0.0
    for layer in range(LAYERS):
        losses = weights = 0.0
        for image, query in itertools.product(range(IMAGES), range(QUERIES)):
            values = [*names[layer, image, query].tolist(), float(null[layer, image, query])]
            norm = math.fsum(math.exp(value) for value in values)
            shares = [math.exp(value) / norm for value in values]
            segment = of_query.get((layer, image, query))
            if segment is None:
                weight, share = settings.no_object, shares[-1]
                if settings.void == "ignore":
                    inside = logits[layer, image, query] > 0
                    on_labelled = float((targets[image].labelled * inside).sum()) / max(1, int(inside.sum()))
                    weight = weight if on_labelled > 0.5 else 0.0
            else:
                name = int(targets[image].names[segment])
                weight, share = 1.0, math.fsum(shares[:-1]) if name == NAMELESS else shares[name]
            losses -= weight * math.log(share)
            weights += weight
        total += losses / weights
    return total


@pytest.mark.parametrize("void", ["negative", "ignore", "nameless"])
def test_names_are_learned_by_each_rule_for_what_is_not_annotated(
    logits: Tensor, targets: list[Target], void: str
) -> None:
    settings = replace(SETTINGS, void=void)  # type: ignore[arg-type]
    if void == "nameless":
        targets = [replace(targets[0], names=torch.tensor([2, NAMELESS, 1])), targets[1]]
    names, null = torch.randn(LAYERS, IMAGES, QUERIES, LABELS), torch.randn(LAYERS, IMAGES, QUERIES)
    matches = match(logits, None, targets, settings)
    expected = name_loss_slowly(names, null, logits, matches, targets, settings)
    assert float(name_loss(names, null, logits, matches, targets, settings)) == pytest.approx(expected, rel=1e-4)


def test_a_query_on_unlabelled_pixels_learns_nothing_or_that_there_is_nothing(targets: list[Target]) -> None:
    """The difference of the rules: the loss of such a query has a gradient, or none."""
    logits = torch.full((1, IMAGES, QUERIES, SIDE, SIDE), -9.0)
    logits[0, 1, 4, 6:] = 9.0  # lies on what image 1 does not annotate
    none = Matches(*(torch.zeros(0, dtype=torch.long) for _ in range(4)))
    for void, learns in (("negative", True), ("ignore", False)):
        null = torch.zeros(1, IMAGES, QUERIES, requires_grad=True)
        settings = replace(SETTINGS, void=void)  # type: ignore[arg-type]
        name_loss(torch.zeros(1, IMAGES, QUERIES, LABELS), null, logits, none, targets, settings).backward()
        assert null.grad is not None
        assert bool(null.grad[0, 1, 4]) == learns


@pytest.mark.parametrize("void", ["negative", "ignore"])
def test_objectness_is_learned_by_the_same_rules(logits: Tensor, targets: list[Target], void: str) -> None:
    settings = replace(SETTINGS, void=void)  # type: ignore[arg-type]
    objectness = torch.randn(LAYERS, IMAGES, QUERIES)
    matches = match(logits, None, targets, settings)
    one_label = [replace(target, names=torch.zeros_like(target.names)) for target in targets]
    # A score of its own is one label against a "nothing" of score 0.
    expected = name_loss_slowly(
        objectness[..., None], torch.zeros_like(objectness), logits, matches, one_label, settings
    )
    assert float(objectness_loss(objectness, logits, matches, targets, settings)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("points", [0, 16])
def test_views_without_a_segment_have_a_loss_all_the_same(points: int) -> None:
    settings = replace(SETTINGS, points=points)
    empty = targets_of(torch.zeros(2, SIDE, SIDE, dtype=torch.uint8), [[], []])
    logits = torch.randn(LAYERS, 2, QUERIES, SIDE, SIDE, requires_grad=True)
    matches = match(logits, None, empty, settings)
    assert not len(matches.layers)
    loss = mask_loss(logits, matches, empty, settings)
    assert float(loss.detach()) == 0.0
    loss.backward()
    names = torch.randn(LAYERS, 2, QUERIES, LABELS)
    found = name_loss(names, torch.zeros(LAYERS, 2, QUERIES), logits, matches, empty, settings)
    nothing = torch.cat([names, torch.zeros(LAYERS, 2, QUERIES, 1)], dim=-1).log_softmax(dim=-1)[..., -1]
    assert float(found) == pytest.approx(-float(nothing.mean(dim=(1, 2)).sum()), rel=1e-5)


def test_more_segments_than_queries_are_matched_as_far_as_queries_go() -> None:
    numbers = torch.arange(1, 17, dtype=torch.uint8).reshape(1, 4, 4).repeat_interleave(2, 1).repeat_interleave(2, 2)
    targets = targets_of(numbers, [[0] * 16])
    matches = match(torch.randn(1, 1, QUERIES, SIDE, SIDE), None, targets, SETTINGS)
    assert sorted(matches.queries.tolist()) == list(range(QUERIES))
    assert len(set(matches.segments.tolist())) == QUERIES


def test_logits_that_are_not_finite_are_matched_and_do_not_stop_a_training(targets: list[Target]) -> None:
    logits = torch.full((1, IMAGES, QUERIES, SIDE, SIDE), math.nan)
    assert len(match(logits, None, targets, SETTINGS).layers) == 4


def test_layers_are_stacked_in_single_precision() -> None:
    layers = [Masks(torch.randn(2, 3, 4, 4).bfloat16(), torch.randn(2, 3, 5).bfloat16()) for _ in range(2)]
    found = stacked(layers)
    assert (found.logits.shape, found.embeddings.shape) == ((2, 2, 3, 4, 4), (2, 2, 3, 5))
    assert (found.logits.dtype, found.embeddings.dtype) == (torch.float32, torch.float32)
    assert torch.equal(found.logits[1], layers[1].logits.float())


@pytest.mark.parametrize("points", [0, 200])
def test_the_mask_of_stuff_in_a_partial_annotation_is_compared_where_something_is_annotated(points: int) -> None:
    settings = replace(SETTINGS, points=points)
    numbers = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    numbers[0, :3], numbers[0, 5:, :4] = 1, 2  # stuff, and a thing
    whole, partial = (targets_of(numbers, [[0, 1]], [part], {0}) for part in (False, True))
    logits = torch.full((1, 1, 2, SIDE, SIDE), -4.0)
    logits[0, 0, 0, :3], logits[0, 0, 1, 5:, :4] = 4, 4
    pairs = Matches(*(torch.tensor(each) for each in ([0, 0], [0, 0], [0, 1], [0, 1])))
    farther = logits.clone()
    farther[0, 0, 0, 3] = 4  # The stuff goes on where nothing is annotated ...
    around = logits.clone()
    around[0, 0, 1, 4] = 4  # ... and a thing does.

    def loss(of: Tensor, targets: list[Target]) -> float:
        torch.manual_seed(1)
        return float(mask_loss(of, pairs, targets, settings))

    if not points:
        assert loss(farther, partial) == pytest.approx(loss(logits, partial), rel=1e-6)
    # Points are drawn where a mask is unsure, at its edges, so there each loss is larger.
    less, more = (0.8, 1.1) if points else (0.5, 2.0)
    assert loss(farther, partial) < less * loss(farther, whole)
    assert loss(around, partial) > more * loss(logits, partial)  # Around a thing is not that thing.
    wrong = logits.clone()
    wrong[0, 0, 0, 5:, :4] = 4  # The thing's pixels are annotated, so they are not of the stuff.
    assert loss(wrong, partial) > more * loss(logits, partial)


def test_stuff_is_matched_by_what_is_annotated_in_a_partial_annotation() -> None:
    numbers = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    numbers[0, :3] = 1
    logits = torch.full((1, 1, 2, SIDE, SIDE), -4.0)
    logits[0, 0, 0, :2] = 4  # fits what is annotated a little worse
    logits[0, 0, 1] = 4  # holds it whole, and goes on
    found = [match(logits, None, targets_of(numbers, [[0]], [part], {0}), SETTINGS) for part in (False, True)]
    assert [each.queries.tolist() for each in found] == [[0], [1]]
    assert match(logits, None, targets_of(numbers, [[0]], [True]), SETTINGS).queries.tolist() == [0]  # a thing
