"""The totals of a run over all of its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ovdiff.segmentation import Segmentation


@dataclass(frozen=True)
class CategoryTotal:
    """What a run found of a category.

    Attributes:
        category: its name.
        images: how many images show it.
        share: its share of all pixels, 0 to 1.
        score: the mean of its scores, weighed by pixels; 0 where it was not found.
    """

    category: str
    images: int
    share: float
    score: float


class Totals:
    """Counts the images of a run, and the pixels and scores of each category."""

    def __init__(self, names: Sequence[str]) -> None:
        """Start with all counts at zero; `names[i]` is the category of label id `i + 1`."""
        self.segmented = 0
        self.failed = 0
        self.dropped_parts = 0
        self.hidden = 0
        self._names = tuple(names)
        self._pixels = 0
        self._images_with = np.zeros(len(names), dtype=np.int64)
        self._pixels_of = np.zeros(len(names), dtype=np.int64)
        self._score_sum_of = np.zeros(len(names))

    def add(self, segmentation: Segmentation) -> None:
        """Count an image that was segmented."""
        self.segmented += 1
        self._pixels += segmentation.label_map.size
        for index, mask in segmentation.found():
            pixels = int(np.count_nonzero(mask))
            self._images_with[index] += 1
            self._pixels_of[index] += pixels
            self._score_sum_of[index] += segmentation.category_score(index) * pixels

    def merge(self, other: Totals) -> None:
        """Count the images of another run over the same categories, too."""
        self.segmented += other.segmented
        self.failed += other.failed
        self.dropped_parts += other.dropped_parts
        self.hidden += other.hidden
        self._pixels += other._pixels
        self._images_with += other._images_with
        self._pixels_of += other._pixels_of
        self._score_sum_of += other._score_sum_of

    def of_categories(self) -> list[CategoryTotal]:
        """Return what was found of each category."""
        shares = self._pixels_of / max(1, self._pixels)
        scores = self._score_sum_of / np.maximum(1, self._pixels_of)
        return [
            CategoryTotal(name, int(self._images_with[index]), float(shares[index]), float(scores[index]))
            for index, name in enumerate(self._names)
        ]

    def table(self) -> str:
        """Return a line for each category: how many images show it, its share of all pixels, its mean score."""
        width = max(len("category"), *(len(name) for name in self._names))
        lines = [f"{'category':{width}}  images  of pixels  score"]
        for each in self.of_categories():
            lines.append(f"{each.category:{width}}  {each.images:6}  {each.share:9.1%}  {each.score:5.2f}")
        return "\n".join(lines)
