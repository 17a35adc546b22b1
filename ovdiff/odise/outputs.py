"""Semantic, panoptic and instance results from masks with probabilities (C.3)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ovdiff.odise.naming import Named
from ovdiff.odise.preset import OutputSettings


class Segment(NamedTuple):
    """A segment of a panoptic result: its label's index, and its probability."""

    label: int
    score: float


class PanopticResult(NamedTuple):
    """Segments that do not overlap.

    Attributes:
        ids: (H, W) int32: the number of each pixel's segment, from 1; 0 where there is none.
        segments: segment i + 1 is ``segments[i]``.
    """

    ids: Tensor
    segments: list[Segment]


class Instances(NamedTuple):
    """Masks that may overlap, the surest first.

    Attributes:
        labels: (N,) int64.
        scores: (N,) float32.
        masks: (N, H, W) bool.
    """

    labels: Tensor
    scores: Tensor
    masks: Tensor


def enlarged(logits: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Return the probabilities (Q, H, W) of pixels, from logits (Q, h, w)."""
    return F.interpolate(logits[None].float(), size_hw, mode="bilinear", align_corners=False)[0].sigmoid()


def semantic_scores(named: Named, masks: Tensor) -> Tensor:
    """Return the score of each label at each pixel (K, H, W), in [0, 1]: sum over masks of p(q, k) * mask_q (C.3)."""
    return torch.einsum("qk,qhw->khw", named.names, masks).clamp(max=1.0)


def panoptic(named: Named, masks: Tensor, stuff: Sequence[bool], settings: OutputSettings) -> PanopticResult:
    """Merge masks into segments that do not overlap (C.3).

    A mask whose likeliest label is "nothing", or that is not surer than the object threshold, is left out. Each pixel
    goes to the mask of the largest p * mask. A mask that keeps less than ``overlap`` of its own pixels is dropped, and
    its pixels stay without a segment. All segments of one kind of stuff become one.

    Args:
        named: the probabilities (Q, K) and (Q,).
        masks: (Q, H, W) in [0, 1].
        stuff: for each label, whether it is stuff.
        settings: the thresholds.
    """
    scores, labels = named.names.max(dim=1)
    kept = (scores > named.void) & (scores > settings.object_threshold)
    ids = torch.zeros(masks.shape[1:], dtype=torch.int32)
    segments: list[Segment] = []
    if not kept.any():
        return PanopticResult(ids, segments)
    scores, labels, masks = scores[kept], labels[kept], masks[kept]
    owners = (scores[:, None, None] * masks).argmax(dim=0)
    inside = masks >= 0.5
    of_stuff: dict[int, int] = {}
    for number, (label, score) in enumerate(zip(labels.tolist(), scores.tolist(), strict=True)):
        own = (owners == number) & inside[number]
        whole, left = int(inside[number].sum()), int(own.sum())
        if not left or left / whole < settings.overlap:
            continue
        if stuff[label] and label in of_stuff:
            ids[own.cpu()] = of_stuff[label]
            continue
        segments.append(Segment(label, score))
        ids[own.cpu()] = len(segments)
        if stuff[label]:
            of_stuff[label] = len(segments)
    return PanopticResult(ids, segments)


def instances(named: Named, masks: Tensor, stuff: Sequence[bool], count: int) -> Instances:
    """Return the ``count`` surest masks of things (C.3): a mask's score is p times the mean of its pixels inside."""
    things = torch.tensor([index for index, of_stuff in enumerate(stuff) if not of_stuff], dtype=torch.long)
    scores = named.names[:, things]
    best, places = scores.flatten().topk(min(count, scores.numel()))
    queries, labels = places // max(1, len(things)), things[places % max(1, len(things))]
    inside = masks > 0.5
    sizes = inside.flatten(1).sum(dim=1)
    quality = (masks * inside).flatten(1).sum(dim=1) / sizes.clamp(min=1)
    order = (best * quality[queries]).argsort(descending=True)
    order = order[sizes[queries[order]] > 0]
    return Instances(labels[order], (best * quality[queries])[order], inside[queries[order]])
