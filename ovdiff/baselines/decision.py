"""From the maps of words to a label for every pixel.

The windows' maps are averaged at working size, PAMR may follow, the maps are enlarged to the image, and then, as in the
code of SCLIP and NACLIP: softmax over all words, the best word of each category, and background where no category
reaches the threshold or a word of the background is better.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ovdiff.baselines.preset import ActivationSettings
from ovdiff.baselines.words import Words
from ovdiff.segmentation import Segmentation
from ovdiff.segmenting.windows import Window

_CELLS_AT_ONCE = 1 << 24
"""How many pixels of all words together are computed at once: 64 MiB, of which a few are needed."""


class Rule(NamedTuple):
    """How maps become labels.

    Attributes:
        scores: how similarities become scores.
        threshold: a pixel whose best category has less is background.
    """

    scores: ActivationSettings
    threshold: float


def merged(
    maps: Iterable[tuple[Sequence[Window], Tensor]], words: int, size_hw: tuple[int, int], device: torch.device
) -> Tensor:
    """Average the maps of windows over a working image, (W, H, W') float32. Each window has a vote of its weight.

    Args:
        maps: windows of one size with their maps (B, W, h, w), which are enlarged to the windows.
        words: how many maps a window has.
        size_hw: the size of the working image; every pixel lies in some window.
        device: where the result is.
    """
    total, count = torch.zeros(words, *size_hw, device=device), torch.zeros(size_hw, device=device)
    for windows, batch in maps:
        for window, each in zip(windows, batch, strict=True):
            rows, columns = window.slices
            enlarged = F.interpolate(each[None].float(), (window.height, window.width), mode="bilinear")[0]
            total[:, rows, columns] += window.weight * enlarged
            count[rows, columns] += window.weight
    return total / count


def decide(maps: Tensor, words: Words, size_hw: tuple[int, int], rule: Rule) -> Segmentation:
    """Label every pixel of an image.

    Args:
        maps: (W, h, w), of each word, at working size.
        words: the words.
        size_hw: the image's own size.
        rule: how maps become labels.
    """
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for band in bands(maps, size_hw):
        classes = _of_classes(_scores(band, rule.scores), words)
        best, label = classes[: words.categories].max(dim=0)
        background = best < rule.threshold
        if len(classes) > words.categories:
            background |= classes[-1] >= best
        first = classes.topk(min(2, len(classes)), dim=0).values
        margin = first[0] - first[1] if len(first) > 1 else first[0]
        labels = torch.where(background, 0, label + 1).int()
        found.append((labels.cpu(), first[0].clamp(0, 1).cpu(), margin.cpu()))
    labels, scores, margins = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Segmentation(labels.numpy(), scores.numpy(), margins.numpy())


def class_scores_at(
    maps: Tensor, words: Words, size_hw: tuple[int, int], scores: ActivationSettings, place: tuple[int, int]
) -> Tensor:
    """Return the scores of which :func:`decide` takes the best at a pixel (x, y) of the image.

    Args:
        maps: (W, h, w), of each word, at working size.
        words: the words.
        size_hw: the image's own size; the pixel lies in it.
        scores: how similarities become scores.
        place: the pixel.

    Returns:
        (C,) the best score of each category's words, and last that of the background's, if there are any.
    """
    (x, y), top = place, 0
    for band in bands(maps, size_hw):
        if y < top + band.shape[1]:
            pixel = band[:, y - top : y - top + 1, x : x + 1]
            return _of_classes(_scores(pixel, scores), words)[:, 0, 0]
        top += band.shape[1]
    raise IndexError(f"the pixel {place} lies outside of {size_hw}")


def bands(maps: Tensor, size_hw: tuple[int, int]) -> Iterator[Tensor]:
    """Yield bands of rows (W, rows, W') of what bilinear enlarging gives (align_corners False), from top to bottom.

    All of it at once would take 8 GB for a photograph of 12 million pixels and 171 words.
    """
    height = max(1, _CELLS_AT_ONCE // max(1, len(maps) * size_hw[1]))
    places = (np.arange(size_hw[0]) + 0.5) * maps.shape[1] / size_hw[0] - 0.5
    low = np.clip(np.floor(places), 0, maps.shape[1] - 1).astype(np.int64)
    share = np.clip(places - low, 0.0, 1.0)
    for top in range(0, size_hw[0], height):
        above = torch.from_numpy(low[top : top + height]).to(maps.device)
        below = (above + 1).clamp(max=maps.shape[1] - 1)
        weight = torch.from_numpy(share[top : top + height]).to(maps.device, torch.float32)[None, :, None]
        rows = torch.lerp(maps[:, above], maps[:, below], weight)
        yield F.interpolate(rows[None], (rows.shape[1], size_hw[1]), mode="bilinear")[0]


def _scores(maps: Tensor, settings: ActivationSettings) -> Tensor:
    return (settings.scale * maps).softmax(dim=0) if settings.activation == "softmax" else maps


def _of_classes(scores: Tensor, words: Words) -> Tensor:
    """Return the best score of each category's words, and last that of the background's, if there are any."""
    owners = torch.tensor(words.owners)
    groups = [scores[(owners == index).to(scores.device)] for index in range(words.owners[-1] + 1)]
    return torch.stack([group.amax(dim=0) if len(group) > 1 else group[0] for group in groups])
