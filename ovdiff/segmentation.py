"""The result for one image: a label map, with the scores behind it. Never imports torch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PartEvidence:
    """What CLIP saw in a connected part of a thing, and what became of the part.

    Attributes:
        box: (x0, y0, x1, y1) as shares of the image's width and height.
        area_share: the share of the image that the part covers.
        by_pixels: the word that the pixels chose; it may be an anchor.
        became: the asked word that most of the part became, or ``None`` if it became background.
        shares: the likeliest words with their softmax shares, the likeliest first; the part's own words are among them.
    """

    box: tuple[float, float, float, float]
    area_share: float
    by_pixels: str
    became: str | None
    shares: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Segmentation:
    """The label of every pixel of one image, at the image's own size.

    Attributes:
        label_map: (H, W) int32; 0 is background, ``i + 1`` is ``vocabulary.categories[i]``.
        scores: (H, W) float32 in [0, 1]: the winning class's score by Eq. 4, the mean of its largest cosines, before
            clean-up. Negative cosines count as 0.
        margins: (H, W) float32: the winner's score minus the runner-up's, before clean-up. A small margin means that
            the pixel could have been either.
        instance_map: (H, W) int32, or ``None`` if objects were not told apart: one id a pixel, 0 where there is no
            object. All pixels of an id have one label: an object's, or all pixels of a category that is stuff.
        parts: what CLIP saw in the parts of things, the largest first; empty if the preset does not check parts.
    """

    label_map: NDArray[np.int32]
    scores: NDArray[np.float32]
    margins: NDArray[np.float32]
    instance_map: NDArray[np.int32] | None = None
    parts: tuple[PartEvidence, ...] = ()

    def mask(self, index: int) -> NDArray[np.bool_]:
        """Return the (H, W) mask of ``vocabulary.categories[index]``."""
        if index < 0:
            raise IndexError(f"category index {index} is negative; the first category is 0")
        mask: NDArray[np.bool_] = self.label_map == index + 1
        return mask

    def found(self) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """Yield the index and the (H, W) mask of each category that has a pixel, in the vocabulary's order."""
        labels = np.flatnonzero(np.bincount(self.label_map.ravel()))
        for index in (labels[labels > 0] - 1).tolist():
            yield index, self.mask(index)

    def objects(self) -> Iterator["FoundObject"]:
        """Yield each object, and each category that is stuff, in the order of their ids.

        Without an ``instance_map`` each category that has a pixel is one object.
        """
        if self.instance_map is None:
            for index, mask in self.found():
                yield FoundObject(index, mask, self.category_score(index))
            return
        ids = np.where(self.label_map > 0, self.instance_map, 0)  # Pixels may have lost their label since.
        labels = np.zeros(int(ids.max()) + 1, dtype=np.int32)
        labels[ids] = self.label_map
        for number in (np.flatnonzero(labels[1:]) + 1).tolist():
            mask = ids == number
            yield FoundObject(int(labels[number]) - 1, mask, _mean_score(self.scores[mask]))

    def category_score(self, index: int) -> float:
        """Return the mean winning score over a category's pixels, in [0, 1]; 0 if it has no pixels."""
        return _mean_score(self.scores[self.mask(index)])

    def image_score(self) -> float:
        """Return the mean winning score over all pixels, in [0, 1]; it is low if the method is unsure of the image."""
        return _mean_score(self.scores)


@dataclass(frozen=True)
class FoundObject:
    """An object of a segmentation: a thing, or all of a kind of stuff.

    Attributes:
        index: the index of its category in the vocabulary.
        mask: (H, W) bool.
        score: the mean winning score over its pixels, in [0, 1].
    """

    index: int
    mask: NDArray[np.bool_]
    score: float


def _mean_score(scores: NDArray[np.float32]) -> float:
    return float(np.clip(scores, 0.0, 1.0).mean()) if scores.size else 0.0
