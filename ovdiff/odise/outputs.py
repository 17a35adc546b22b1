"""Semantic, panoptic and instance results from masks with probabilities (C.3)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ovdiff.odise.naming import Named
from ovdiff.odise.preset import OutputSettings

_CELLS_AT_ONCE = 1 << 25
"""How many pixels of all masks together are computed at once: 128 MiB."""


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
    """Masks that may overlap, the surest first; on the CPU, as every result is.

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


def bands(logits: Tensor, size_hw: tuple[int, int]) -> Iterator[Tensor]:
    """Yield what :func:`enlarged` returns in bands of rows (Q, rows, W), from top to bottom.

    All of it at once would take 5 GB for a photograph of 12 million pixels and 100 masks. Enlarging is linear in each
    axis, so the rows of a band are found by themselves.
    """
    rows, columns = (_enlarging(small, large) for small, large in zip(logits.shape[1:], size_hw, strict=True))
    wide = logits.float() @ columns.T.to(logits.device)
    height = max(1, _CELLS_AT_ONCE // max(1, len(logits) * size_hw[1]))
    for top in range(0, size_hw[0], height):
        weights = rows[top : top + height].to(logits.device)
        yield torch.einsum("rh,qhw->qrw", weights, wide).sigmoid()


def at_pixel(logits: Tensor, size_hw: tuple[int, int], place: tuple[int, int]) -> Tensor:
    """Return the probabilities (Q,) of one pixel (x, y) of what :func:`enlarged` returns, which is not made whole."""
    rows, columns = (_enlarging(small, large) for small, large in zip(logits.shape[1:], size_hw, strict=True))
    row, column = rows[place[1]].to(logits.device), columns[place[0]].to(logits.device)
    return torch.einsum("h,qhw,w->q", row, logits.float(), column).sigmoid()


def _enlarging(small: int, large: int) -> Tensor:
    """Return the weights (large, small) by which one axis is enlarged, as F.interpolate does it."""
    return F.interpolate(torch.eye(small)[None], large, mode="linear", align_corners=False)[0].T


def semantic_scores(named: Named, masks: Tensor) -> Tensor:
    """Return the score of each label at each pixel (K, H, W), in [0, 1]: sum over masks of p(q, k) * mask_q (C.3)."""
    return torch.einsum("qk,qhw->khw", named.names, masks).clamp(max=1.0)


class SemanticResult(NamedTuple):
    """The best label of each pixel, on the CPU.

    Attributes:
        labels: (H, W) int32: 0 for background, i + 1 for label i.
        scores: (H, W) float32, the best label's score, also of background.
        margins: (H, W) float32, the best score minus the second.
    """

    labels: Tensor
    scores: Tensor
    margins: Tensor


def semantic(named: Named, masks: Iterable[Tensor], background: float) -> SemanticResult:
    """Give each pixel the label of the best :func:`semantic_scores`, if that is above ``background``.

    Args:
        named: the probabilities.
        masks: (Q, rows, W) in [0, 1], bands from top to bottom.
        background: the least score that a label needs.
    """
    found = []
    for band in masks:
        scores = semantic_scores(named, band)
        best = scores.topk(min(2, len(scores)), dim=0)
        labels = torch.where(best.values[0] > background, best.indices[0] + 1, 0).int()
        second = best.values[1] if len(scores) > 1 else torch.zeros_like(best.values[0])
        found.append(SemanticResult(labels.cpu(), best.values[0].cpu(), (best.values[0] - second).cpu()))
    return SemanticResult(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def panoptic(
    named: Named, masks: Tensor | Iterable[Tensor], stuff: Sequence[bool], settings: OutputSettings
) -> PanopticResult:
    """Merge masks into segments that do not overlap (C.3).

    A mask whose likeliest label is "nothing", or that is not surer than the object threshold, is left out. Each pixel
    goes to the mask of the largest p * mask. A mask that keeps less than ``overlap`` of its own pixels is dropped, and
    its pixels stay without a segment. All segments of one kind of stuff become one.

    Args:
        named: the probabilities (Q, K) and (Q,).
        masks: (Q, H, W) in [0, 1], or bands of its rows from top to bottom.
        stuff: for each label, whether it is stuff.
        settings: the thresholds.
    """
    scores, labels = named.names.max(dim=1)
    kept = (scores > named.void) & (scores > settings.object_threshold)
    owners, whole = _owners((masks,) if isinstance(masks, Tensor) else masks, scores, kept)
    left = torch.bincount(owners.flatten() + 1, minlength=len(scores) + 1)[1:]
    ids = torch.zeros(owners.shape, dtype=torch.int32)
    segments: list[Segment] = []
    of_stuff: dict[int, int] = {}
    for number in torch.nonzero(kept.cpu() & (left > 0) & (left >= settings.overlap * whole))[:, 0].tolist():
        label = int(labels[number])
        if not (stuff[label] and label in of_stuff):
            segments.append(Segment(label, float(scores[number])))
            of_stuff.setdefault(label, len(segments))
        ids[owners == number] = of_stuff[label] if stuff[label] else len(segments)
    return PanopticResult(ids, segments)


def _owners(bands: Iterable[Tensor], scores: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mask that each pixel goes to (H, W), and how many pixels each mask has (Q,); both on the CPU.

    A pixel that lies outside the mask that it would go to goes to none, -1.
    """
    found, whole = [], torch.zeros(len(scores), dtype=torch.long)
    weights = torch.where(kept, scores, -1.0)[:, None, None]
    for band in bands:
        owners = (weights * band).argmax(dim=0)
        inside = band >= 0.5
        whole += inside.sum(dim=(1, 2)).cpu()
        own = inside.gather(0, owners[None])[0] & kept[owners]
        found.append(torch.where(own, owners, -1).cpu())
    return torch.cat(found), whole


def instances(named: Named, masks: Tensor, stuff: Sequence[bool], count: int) -> Instances:
    """Return the ``count`` surest masks of things (C.3): a mask's score is p times the mean of its pixels inside."""
    known = [index for index, of_stuff in enumerate(stuff) if not of_stuff]
    things = torch.tensor(known, dtype=torch.long, device=named.names.device)
    scores = named.names[:, things]
    best, places = scores.flatten().topk(min(count, scores.numel()))
    queries, labels = places // max(1, len(things)), things[places % max(1, len(things))]
    inside = masks > 0.5
    sizes = inside.flatten(1).sum(dim=1)
    quality = (masks * inside).flatten(1).sum(dim=1) / sizes.clamp(min=1)
    order = (best * quality[queries]).argsort(descending=True)
    order = order[sizes[queries[order]] > 0]
    return Instances(labels[order].cpu(), (best * quality[queries])[order].cpu(), inside[queries[order]].cpu())
