"""The result for one image: a label map, with the scores behind it. Never imports torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovdiff.region_scores import RegionEvidence, RegionScoring, log_share

_PIXELS_AT_ONCE = 1 << 16
NOTHING_FOUND = 0.5
"""The score of an image without regions, if scores are probabilities."""


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
class PlaceScores:
    """How strongly each word claims a pixel.

    Attributes:
        scores: (C,) the score of each category of a vocabulary, in its order, in [0, 1].
        least: the score that a word needs to be drawn there.
    """

    scores: tuple[float, ...]
    least: float


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
        presence: CLIP's share of each category in the whole image, beside the others and the anchors, in [0, 1]; empty
            if CLIP did not look.
        scoring: how regions are scored; with ``None`` the score of a region is the mean score of its pixels.
    """

    label_map: NDArray[np.int32]
    scores: NDArray[np.float32]
    margins: NDArray[np.float32]
    instance_map: NDArray[np.int32] | None = None
    parts: tuple[PartEvidence, ...] = ()
    presence: tuple[float, ...] = ()
    scoring: RegionScoring | None = None

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
            index = int(labels[number]) - 1
            yield FoundObject(index, mask, self.region_score(index, mask))

    def region_score(self, index: int, mask: NDArray[np.bool_]) -> float:
        """Return how sure the method is of a region, in [0, 1]; 0 if the region has no pixels.

        Args:
            index: the index of the region's category in the vocabulary.
            mask: (H, W) bool, the region: the category's mask, or some of it, such as one object.
        """
        return self.region_scores(index, mask)[0] if mask.any() else 0.0

    def region_scores(self, index: int, numbers: NDArray[np.integer[Any] | np.bool_]) -> list[float]:
        """Return how sure the method is of several regions of one category, in [0, 1], at the cost of one.

        Args:
            index: the index of the category in the vocabulary.
            numbers: (H, W), the number of each pixel's region from 1, without a gap; 0 is outside of all.
        """
        found = self.evidence(index, numbers)
        if self.scoring is None:
            return [evidence.cosine for evidence in found]
        return [self.scoring.score(index, evidence) for evidence in found]

    def category_score(self, index: int) -> float:
        """Return the score of all pixels of a category as one region, in [0, 1]; 0 if it has no pixels."""
        return self.region_score(index, self.mask(index))

    def image_score(self) -> float:
        """Return the score of the whole image, in [0, 1]; it is low if the method is unsure of the image.

        If scores are probabilities it is the mean score of the regions: the share of them that is expected to be right.
        An image without regions has 0.5, because nothing speaks for it or against it. If scores are mean cosines, it is
        the mean score of all pixels, background included.
        """
        if self.scoring is None or self.scoring.settings.kind == "mean_cosine":
            return _mean_score(self.scores)
        scores = [found.score for found in self.objects()]
        return float(np.mean(scores)) if scores else NOTHING_FOUND

    def evidence(self, index: int, numbers: NDArray[np.integer[Any] | np.bool_]) -> list[RegionEvidence]:
        """Return what the scores of several regions of one category follow from.

        Args:
            index: the index of the category in the vocabulary.
            numbers: (H, W), the number of each pixel's region from 1, without a gap; 0 is outside of all.
        """
        return self._told(index, numbers, self._sums(numbers))

    def category_scores(self) -> dict[int, float]:
        """Return the :meth:`category_score` of each category that has a pixel, by its index, at the cost of one."""
        sums, scores = self._sums(self.label_map), {}
        for label in (np.flatnonzero(sums[0, 1:]) + 1).tolist():
            evidence = self._told(label - 1, None, sums[:, [0, label]])[0]
            scores[label - 1] = evidence.cosine if self.scoring is None else self.scoring.score(label - 1, evidence)
        return scores

    def _sums(self, numbers: NDArray[np.integer[Any] | np.bool_]) -> NDArray[np.float64]:
        """Return the pixels, and the sums of scores and margins, of each region from 0 on, (3, regions + 1)."""
        sums = np.zeros((3, int(numbers.max(initial=0)) + 1))
        band = max(1, _PIXELS_AT_ONCE // max(1, numbers.shape[1]))
        across = _reach(np.any(numbers, axis=0))
        for top in range(0, len(numbers), band):  # In bands, because bincount makes copies of eight bytes a pixel.
            place = slice(top, top + band), across
            of_pixel = numbers[place].ravel().astype(np.intp)
            if not of_pixel.any():
                continue
            values = (None, np.clip(self.scores[place], 0.0, 1.0).ravel(), self.margins[place].ravel())
            sums += [np.bincount(of_pixel, value, sums.shape[1]) for value in values]
        return sums

    def _told(
        self, index: int, numbers: NDArray[np.integer[Any] | np.bool_] | None, sums: NDArray[np.float64]
    ) -> list[RegionEvidence]:
        """Return the evidence of regions from their sums; ``None`` for the regions is one that is all of its word."""
        sizes, cosines, margins = sums[0, 1:], sums[1, 1:] / sums[0, 1:], sums[2, 1:] / sums[0, 1:]
        log_presence = log_share(self.presence[index]) if self.presence else 0.0
        shares = self._log_shares(index, numbers, len(sizes), log_presence)
        areas = np.log(sizes / self.label_map.size).tolist()
        found = zip(cosines.tolist(), margins.tolist(), areas, shares, strict=True)
        return [RegionEvidence(cosine, margin, area, log_presence, share) for cosine, margin, area, share in found]

    def _log_shares(
        self, index: int, numbers: NDArray[np.integer[Any] | np.bool_] | None, count: int, otherwise: float
    ) -> list[float]:
        """Return the logarithm of CLIP's share for the parts of each region, weighed by area.

        A region belongs to those parts of its word whose boxes meet its own box. ``otherwise`` is for a region whose
        parts CLIP did not look at.
        """
        name = "" if self.scoring is None else self.scoring.names[index]
        parts = [part for part in self.parts if part.became == name]
        if not parts:
            return [otherwise] * count
        boxes = np.array([part.box for part in parts])
        areas = np.array([part.area_share for part in parts])
        logs = np.array([log_share(dict(part.shares).get(name, 0.0)) for part in parts])
        met: list[NDArray[np.bool_]] = [np.full(len(parts), True)]
        if count > 1 and numbers is not None:
            met = [_meets(boxes, box) for box in _boxes(numbers, count)]
        return [float(np.average(logs[of], weights=areas[of])) if of.any() else otherwise for of in met]


@dataclass(frozen=True)
class FoundObject:
    """An object of a segmentation: a thing, or all of a kind of stuff.

    Attributes:
        index: the index of its category in the vocabulary.
        mask: (H, W) bool.
        score: how sure the method is of it, in [0, 1].
    """

    index: int
    mask: NDArray[np.bool_]
    score: float


def _boxes(numbers: NDArray[np.integer[Any] | np.bool_], count: int) -> NDArray[np.float64]:
    """Return the box (x0, y0, x1, y1) of each region, as shares of the image's width and height, (count, 4)."""
    rows, columns = np.nonzero(numbers)
    of_pixel = numbers[rows, columns].astype(np.intp)
    low, high = np.full((2, count + 1), np.inf), np.zeros((2, count + 1))
    for axis, places in enumerate((columns, rows)):
        np.minimum.at(low[axis], of_pixel, places)
        np.maximum.at(high[axis], of_pixel, places + 1.0)
    sides = np.array(numbers.shape[::-1])[:, None]
    boxes: NDArray[np.float64] = np.concatenate([low / sides, high / sides])[:, 1:].T
    return boxes


def _reach(there: NDArray[np.bool_]) -> slice:
    """Return the stretch from the first true place to the last one."""
    places = np.flatnonzero(there)
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 0)


def _meets(boxes: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which boxes (P, 4) have an area in common with one box."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    return np.asarray((low < high).all(axis=1))


def _mean_score(scores: NDArray[np.float32]) -> float:
    return float(np.clip(scores, 0.0, 1.0).mean()) if scores.size else 0.0
