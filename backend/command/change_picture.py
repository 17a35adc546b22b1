"""A picture of the images that a change alters most, a row each: the image, its labels before and after, and where."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from backend.presentation.overlay import label_colours, tint
from ovdiff.blast_radius import BACKGROUND, merged_names, shared_ids
from ovdiff.segmentation import Segmentation

ROWS = 6
TILE_PX = 240
_GAP_PX, _LINE_PX = 4, 18
_TITLES = ("image", "before", "after", "what changes")
_FADED = 0.25  # of the colours where nothing changes


class MostChanged:
    """The rows of the images that change most, drawn as the images come by; the others are forgotten."""

    def __init__(self, before: Sequence[str], after: Sequence[str], rows: int = ROWS) -> None:
        """Start without rows; ``before`` and ``after`` are the names of the labels in the order of their ids."""
        self._before, self._after, self._most = before, after, rows
        self._names = merged_names(before, after)
        self._rows: list[tuple[float, str, int, Image.Image]] = []
        self._seen = 0

    def add(self, name: str, share: float, image: NDArray[np.uint8], before: Segmentation, after: Segmentation) -> None:
        """Draw an image's row if it is among those that change most.

        Args:
            name: the image's name.
            share: the share of its pixels that change.
            image: (H, W, 3) uint8 RGB.
            before: its segmentation before the change.
            after: its segmentation after the change.
        """
        if len(self._rows) == self._most and (share, name) <= self._rows[0][:2]:
            return
        first, second = shared_ids(before, self._before, self._names), shared_ids(after, self._after, self._names)
        self._seen += 1  # of two equal names the pictures would be compared
        heapq.heappush(self._rows, (share, name, self._seen, _row(image, first, second, len(self._names) - 1)))
        if len(self._rows) > self._most:
            heapq.heappop(self._rows)

    def draw(self) -> Image.Image:
        """Return the picture, the largest change at the top, with a legend of all labels below."""
        rows = sorted(self._rows, key=lambda row: (-row[0], row[1]))
        width = len(_TITLES) * (TILE_PX + _GAP_PX) + _GAP_PX
        height = _LINE_PX * (len(rows) + len(self._names)) + sum(row[-1].height + _GAP_PX for row in rows)
        sheet = Image.new("RGB", (width, height), "white")
        draw, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(12), 0
        for share, name, _, tiles in rows:
            draw.text((_GAP_PX, top + 2), f"{name}: {share:.1%} changes", fill="black", font=font)
            for column, title in enumerate(_TITLES[1:], start=1):
                draw.text((_GAP_PX + column * (TILE_PX + _GAP_PX), top + 2), title, fill="grey", font=font)
            sheet.paste(tiles, (0, top + _LINE_PX))
            top += _LINE_PX + tiles.height + _GAP_PX
        colours = label_colours(len(self._names) - 1)
        for name, colour in zip(self._names, colours.tolist(), strict=True):
            if name != BACKGROUND:
                draw.rectangle((_GAP_PX, top + 2, _GAP_PX + 12, top + 14), fill=tuple(colour))
                draw.text((_GAP_PX + 18, top + 2), name, fill="black", font=font)
                top += _LINE_PX
        return sheet


def _row(image: NDArray[np.uint8], before: NDArray[np.int32], after: NDArray[np.int32], count: int) -> Image.Image:
    scale = TILE_PX / max(image.shape[:2])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    first, second = (_shrunk(ids, size) for ids in (before, after))
    faded = (255 - (255.0 - small) * _FADED).astype(np.uint8)
    before_tile, after_tile = (tint(small, ids, label_colours(count)) for ids in (first, second))
    where = np.where((first != second)[..., None], after_tile, faded)
    row = Image.new("RGB", (len(_TITLES) * (TILE_PX + _GAP_PX), size[1]), "white")
    for column, tile in enumerate((small, before_tile, after_tile, where)):
        row.paste(Image.fromarray(tile), (_GAP_PX + column * (TILE_PX + _GAP_PX), 0))
    return row


def _shrunk(ids: NDArray[np.int32], size: tuple[int, int]) -> NDArray[np.int32]:
    return np.asarray(Image.fromarray(ids).resize(size, Image.Resampling.NEAREST))
