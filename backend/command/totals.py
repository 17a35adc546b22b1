"""The totals of a run over all of its images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ovdiff.segmentation import Segmentation


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

    def table(self) -> str:
        """Return a line for each category: how many images show it, its share of all pixels, its mean score."""
        width = max(len("category"), *(len(name) for name in self._names))
        lines = [f"{'category':{width}}  images  of pixels  score"]
        for index, name in enumerate(self._names):
            share = self._pixels_of[index] / max(1, self._pixels)
            score = self._score_sum_of[index] / max(1, self._pixels_of[index])
            lines.append(f"{name:{width}}  {self._images_with[index]:6}  {share:9.1%}  {score:5.2f}")
        return "\n".join(lines)
