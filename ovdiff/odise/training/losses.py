"""The losses of masks and of their names (C.2), with Hungarian matching. All layers of the decoder are supervised."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ovdiff.odise.mask_generator import Masks
from ovdiff.odise.preset import LossSettings
from ovdiff.odise.training.examples import NAMELESS
from ovdiff.odise.training.processes import sum_of_all

_MATCHING_CELLS = 32
"""Whole masks are matched on a grid of so many cells a side."""


@dataclass(frozen=True)
class Target:
    """The segments of one view.

    Attributes:
        masks: (M, S, S) float32, 0 or 1.
        names: (M,) int64: a label of the training, or NAMELESS.
        labelled: (S, S) float32, 1 where the view is annotated.
        partial: whether pixels that are not annotated may show anything, whatever the rule for them is.
        known: (M, S, S) float32, 1 where it is known whether a pixel is the segment's; ``None`` if it is everywhere.
    """

    masks: Tensor
    names: Tensor
    labelled: Tensor
    partial: bool = False
    known: Tensor | None = None


class Matches(NamedTuple):
    """Which query of which layer found which segment; four arrays of equal length."""

    layers: Tensor
    images: Tensor
    queries: Tensor
    segments: Tensor


def targets_of(
    segments: Tensor,
    names: Sequence[Sequence[int]],
    partial: Sequence[bool] | None = None,
    stuff: Collection[int] = frozenset(),
) -> list[Target]:
    """Return the targets of views.

    A region of a thing is a whole object, so what is around it is not that object, annotated or not. Stuff in a partial
    annotation may go on where nothing is annotated: there its mask is not known.

    Args:
        segments: maps (B, S, S) of segments, which are numbered from 1; 0 is not annotated.
        names: the label of each segment of each view.
        partial: which views are partial; ``None`` if none is.
        stuff: the labels that are stuff.
    """
    found = []
    for numbers, of_view, part in zip(segments, names, partial or [False] * len(names), strict=True):
        each = torch.arange(1, len(of_view) + 1, device=numbers.device)[:, None, None]
        masks = (numbers[None] == each).float()
        index = torch.tensor(list(of_view), dtype=torch.long, device=numbers.device)
        labelled, known = (numbers > 0).float(), None
        goes_on = [part and name in stuff for name in of_view]
        if any(goes_on):
            known = torch.ones_like(masks)
            known[goes_on] = labelled
        found.append(Target(masks, index, labelled, part, known))
    return found


@torch.no_grad()
def match(logits: Tensor, named: Tensor | None, targets: Sequence[Target], settings: LossSettings) -> Matches:
    """Match each segment with one query of each layer, at the least cost (C.2).

    Args:
        logits: (L, B, Q, h, w) of masks.
        named: (L, B, Q, K) probabilities of names, or ``None`` if names do not matter.
        targets: the segments of each view.
        settings: the weights of the costs.
    """
    layers, images, queries, segments = [], [], [], []
    side = min(_MATCHING_CELLS, targets[0].masks.shape[-1]) if targets else 0
    small = F.interpolate(logits.flatten(0, 1), (side, side), mode="bilinear", align_corners=False)
    small = small.reshape(*logits.shape[:3], side, side)
    for image, target in enumerate(targets):
        if not len(target.masks):
            continue
        truth = F.adaptive_avg_pool2d(target.masks[None], side)[0].flatten(1)
        known = torch.ones_like(truth)
        if target.known is not None:
            known = F.adaptive_avg_pool2d(target.known[None], side)[0].flatten(1)
        costs = _mask_costs(small[:, image].flatten(2), truth, known, settings)
        if named is not None:
            labels = target.names.clamp(min=0)
            costs = costs - settings.name * named[:, image][..., labels] * (target.names != NAMELESS)
        for layer, cost in enumerate(costs.cpu().numpy()):
            rows, columns = linear_sum_assignment(np.nan_to_num(cost, nan=1e6, posinf=1e6, neginf=-1e6))
            queries += rows.tolist()
            segments += columns.tolist()
            layers += [layer] * len(rows)
            images += [image] * len(rows)
    return Matches(*(torch.tensor(each, dtype=torch.long) for each in (layers, images, queries, segments)))


def mask_loss(logits: Tensor, matches: Matches, targets: Sequence[Target], settings: LossSettings) -> Tensor:
    """Return the weighted cross-entropy and dice of all matched masks, a mean over segments, a sum over layers.

    A pixel of which it is not known whether it is the segment's does not count.
    """
    count = sum_of_all(torch.tensor(len(matches.layers) / len(logits), device=logits.device)).clamp(min=1e-6)
    if not len(matches.layers):
        return logits.sum() * 0.0
    chosen = logits[matches.layers, matches.images, matches.queries][:, None]
    pairs = list(zip(matches.images.tolist(), matches.segments.tolist(), strict=True))
    truth = torch.stack([targets[image].masks[segment] for image, segment in pairs])[:, None]
    known = _known_of(pairs, targets, truth)
    if settings.points:
        points = _uncertain_points(chosen, settings)
        predicted, wanted, counted = _at(chosen, points), _at(truth, points), _at(known, points, nearest=True)
    else:
        whole = F.interpolate(chosen, truth.shape[-2:], mode="bilinear", align_corners=False)
        predicted, wanted, counted = whole.flatten(1), truth.flatten(1), known.flatten(1)
    each = F.binary_cross_entropy_with_logits(predicted, wanted, reduction="none") * counted
    entropy = (each.sum(dim=1) / counted.sum(dim=1).clamp(min=1)).sum()
    shares = predicted.sigmoid() * counted
    overlap = 2 * (shares * wanted).sum(dim=1) + 1
    dice = (1 - overlap / (shares.sum(dim=1) + wanted.sum(dim=1) + 1)).sum()
    return (settings.mask * entropy + settings.dice * dice) / count


def name_loss(
    names: Tensor, null: Tensor, logits: Tensor, matches: Matches, targets: Sequence[Target], settings: LossSettings
) -> Tensor:
    """Return the cross-entropy of names (C.2), a weighted mean over queries, summed over layers.

    Args:
        names: (L, B, Q, K) logits of labels.
        null: (L, B, Q) logits of "nothing".
        logits: (L, B, Q, h, w) of masks, which say how much of a query lies on pixels without annotation.
        matches: which queries found a segment.
        targets: the segments of each view.
        settings: the weights and the rule for unlabelled pixels.
    """
    every = torch.cat([names, null[..., None]], dim=-1).log_softmax(dim=-1)
    wanted = torch.full(names.shape[:-1], names.shape[-1], dtype=torch.long, device=names.device)
    weights = torch.full(names.shape[:-1], settings.no_object, device=names.device)
    weights = weights * _teaches_nothing_there(logits, targets, settings)
    at = (matches.layers, matches.images, matches.queries)
    found = _names_of(matches, targets).to(names.device)
    nameless = found == NAMELESS
    wanted[at] = found.clamp(min=0)
    weights[at] = 1.0
    losses = -every.gather(-1, wanted[..., None])[..., 0]
    if nameless.any():
        something = every[..., :-1].logsumexp(dim=-1)
        of_nameless = tuple(index[nameless.cpu()] for index in at)
        losses = losses.clone()
        losses[of_nameless] = -something[of_nameless]
    return _weighted_mean(losses, weights)


def objectness_loss(
    objectness: Tensor, logits: Tensor, matches: Matches, targets: Sequence[Target], settings: LossSettings
) -> Tensor:
    """Return the cross-entropy of "a segment or nothing" (C.2, captions) for logits (L, B, Q); see `name_loss`."""
    wanted = torch.zeros_like(objectness)
    weights = torch.full_like(objectness, settings.no_object)
    weights = weights * _teaches_nothing_there(logits, targets, settings)
    at = (matches.layers, matches.images, matches.queries)
    wanted[at] = 1.0
    weights[at] = 1.0
    losses = F.binary_cross_entropy_with_logits(objectness, wanted, reduction="none")
    return _weighted_mean(losses, weights)


def stacked(layers: Sequence[Masks]) -> Masks:
    """Return the masks of all layers in one, float32: each field has a first axis of layers."""
    objects = [layer.objects for layer in layers if layer.objects is not None]
    return Masks(
        torch.stack([layer.logits for layer in layers]).float(),
        torch.stack([layer.embeddings for layer in layers]).float(),
        torch.stack(objects).float() if objects else None,
    )


def _names_of(matches: Matches, targets: Sequence[Target]) -> Tensor:
    pairs = zip(matches.images.tolist(), matches.segments.tolist(), strict=True)
    return torch.tensor([int(targets[image].names[segment]) for image, segment in pairs], dtype=torch.long)


def _known_of(pairs: Sequence[tuple[int, int]], targets: Sequence[Target], truth: Tensor) -> Tensor:
    """Return where the segments (N, 1, S, S) of pairs of image and segment are known, in their shape."""
    if all(target.known is None for target in targets):
        return torch.ones_like(truth[:1]).expand_as(truth)
    found = torch.ones_like(truth)
    for place, (image, segment) in enumerate(pairs):
        known = targets[image].known
        if known is not None:
            found[place, 0] = known[segment]
    return found


def _mask_costs(logits: Tensor, truth: Tensor, known: Tensor, settings: LossSettings) -> Tensor:
    """Return the costs (L, Q, M) of masks (L, Q, P) for segments (M, P), whose values may be shares of a cell.

    ``known`` (M, P) is the share of a cell that counts.
    """
    positive, negative = F.softplus(-logits), F.softplus(logits)
    entropy = (positive @ truth.T + negative @ (known - truth).T) / known.sum(dim=1).clamp(min=1)
    shares = logits.sigmoid()
    overlap = 2 * (shares @ truth.T) + 1
    dice = 1 - overlap / (shares @ known.T + truth.sum(dim=1) + 1)
    return settings.mask * entropy + settings.dice * dice


def _weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean of (L, B, Q) over the queries of the whole batch, summed over layers."""
    whole = sum_of_all(weights.flatten(1).sum(dim=1)).clamp(min=1e-6)
    return ((losses * weights).flatten(1).sum(dim=1) / whole).sum()


def _teaches_nothing_there(logits: Tensor, targets: Sequence[Target], settings: LossSettings) -> Tensor:
    """Say which queries (L, B, Q) learn that there is nothing, unless they found a segment.

    Those on unlabelled pixels do only if such pixels are negatives: by the rule, and in an annotation that is whole.
    """
    ignores = [settings.void == "ignore" or target.partial for target in targets]
    if not any(ignores):
        return torch.ones(logits.shape[:3], dtype=torch.bool, device=logits.device)
    learns = torch.tensor([not each for each in ignores], device=logits.device)[:, None]
    return (_on_labelled(logits, targets) > 0.5) | learns


@torch.no_grad()
def _on_labelled(logits: Tensor, targets: Sequence[Target]) -> Tensor:
    """Return the share of each mask (L, B, Q) that lies on annotated pixels."""
    inside = (logits > 0).float()
    labelled = torch.stack([target.labelled for target in targets])[:, None]
    labelled = F.adaptive_avg_pool2d(labelled, (logits.shape[-2], logits.shape[-1]))
    return (inside * labelled).sum(dim=(-2, -1)) / inside.sum(dim=(-2, -1)).clamp(min=1)


def _at(maps: Tensor, points: Tensor, *, nearest: bool = False) -> Tensor:
    """Return the values (N, P) of maps (N, 1, h, w) at points (N, P, 2), x and y in [0, 1], or those of their cells."""
    mode = "nearest" if nearest else "bilinear"
    return F.grid_sample(maps, 2 * points[:, :, None] - 1, mode=mode, align_corners=False)[:, 0, :, 0]


@torch.no_grad()
def _uncertain_points(logits: Tensor, settings: LossSettings) -> Tensor:
    """Draw points (N, P, 2) for masks (N, 1, h, w), most of them where a mask is unsure (C.2)."""
    count, total = len(logits), settings.points
    drawn = torch.rand(count, int(total * settings.oversample), 2, device=logits.device)
    unsure = int(total * settings.importance)
    order = _at(logits, drawn).abs().topk(unsure, dim=1, largest=False).indices
    chosen = drawn.gather(1, order[..., None].expand(-1, -1, 2))
    return torch.cat([chosen, torch.rand(count, total - unsure, 2, device=logits.device)], dim=1)
