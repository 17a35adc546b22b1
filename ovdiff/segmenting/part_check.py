"""The part check: CLIP looks at the parts that the pixels found, and may give a part to another word.

Pixels say well where things are, and badly which thing is there: features of a few pixels confuse a mug with a ball.
CLIP sees the whole part. So the check moves no border between things and the rest. Inside of it the words compete
again, by the sum of three logarithms (see :class:`ovdiff.presets.segmenting_settings.PartCheckSettings`)::

    pixel_scale * score_c(p) + part_weight * log share_c(part of p) + region_weight * log share_c(region of p)

The paper does nothing like it. ODISE weighs two classifiers of one mask in the same manner, as a geometric mean. A part
that fits a word better which only CLIP knows (an anchor without prototypes) becomes background.

Crops of annotated things are examples of their words beside the texts: what a discriminant of them says is added to the
logits of the texts, before shares are taken (a closed form, as in Tip-Adapter).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.special import log_softmax, softmax
from torch import Tensor

from ovdiff.presets.segmenting_settings import PartCheckSettings
from ovdiff.segmentation import PartEvidence
from ovdiff.segmenting.anchors import Competition
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.segmenting.lessons.discriminant import LearnedViews
from ovdiff.segmenting.matching import ScoreMaps
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.vocabulary import Category, with_phrase

Mask = NDArray[np.bool_]

_TOLD = 3
"""The number of words that are kept as evidence of a part, besides its own."""
_NUDGE = 1e-4
"""By how much background wins over the thing that it replaces; a cosine."""


@dataclass(frozen=True)
class Part:
    """A connected piece of the working image.

    Attributes:
        mask: (h, w) bool.
        box: (top, bottom, left, right) in px of the working image.
        label: the label id that the pixels chose; for a region of several words that of none, 0.
    """

    mask: Mask
    box: tuple[int, int, int, int]
    label: int


def check_parts(
    parts: SegmentingParts,
    encoded: EncodedImage,
    maps: ScoreMaps,
    competition: Competition,
    stuff: frozenset[int],
    learned: LearnedViews | None = None,
) -> tuple[ScoreMaps, tuple[PartEvidence, ...]]:
    """Let CLIP decide with the pixels which thing each part is.

    Args:
        parts: the models; call this inside ``with parts.models.lock``.
        encoded: the encoded image.
        maps: the score maps by Eq. 4.
        competition: the words that compete.
        stuff: the indices of the words that are stuff; these are left to the pixels.
        learned: what crops of annotated things say; ``None`` if nobody annotated any.

    Returns:
        Score maps whose best class is the decision, and what was seen. Where no thing was best nothing changes. Specks
        of things, which are too small for CLIP and touch no larger part, become background.

    Raises:
        WeightsError: CLIP cannot be loaded.
    """
    settings, labels = parts.preset.part_check, maps.labels
    rows = [row for row, label in enumerate(labels) if label > 0 and label - 1 not in stuff]
    if not rows or len(rows) + len(competition.texts) < 2:
        return maps, ()
    scores = maps.scores.cpu()
    best = np.asarray(labels)[scores.argmax(dim=0).numpy()]
    thing_labels = [labels[row] for row in rows]
    shown = np.isin(best, thing_labels)
    regions = find_parts(shown, 0, settings)
    if labels[0] == 0:
        specks = shown & ~np.any([region.mask for region in regions], axis=0) if regions else shown
        scores = to_background(scores, torch.from_numpy(specks), rows)
    if not regions:
        return ScoreMaps(scores.to(maps.scores.device), labels), ()
    pieces = _largest([p for label in thing_labels for p in find_parts(best == label, label, settings)], settings)
    pieces += _in_fragments(regions, pieces, best)
    nearest = _nearest_part(pieces, best.shape)
    cosines = _cosines(parts, encoded, [*pieces, *regions], thing_labels, competition, learned)
    count, of_pieces, of_regions = len(rows), cosines[: len(pieces)], cosines[len(pieces) :]
    by_piece, by_region = (
        log_softmax(settings.logit_scale * part[:, :count], axis=1) for part in (of_pieces, of_regions)
    )
    bonus = settings.part_weight * by_piece[nearest]
    bonus = bonus + settings.region_weight * by_region[_nearest_part(regions, best.shape)]
    weights = torch.from_numpy(bonus.transpose(2, 0, 1).astype(np.float32))
    decided = redecide(scores, rows, weights, settings.pixel_scale)
    after = np.asarray(labels)[decided.argmax(dim=0).numpy()]
    names = [competition.vocabulary.categories[label - 1].name for label in thing_labels] + list(competition.texts)
    evidence, ruled_out = [], np.zeros(best.shape, dtype=np.bool_)
    for number, (piece, row, region) in enumerate(zip(pieces, of_pieces, _owners(pieces, regions), strict=True)):
        seen, became, pixels = _mixed(row, of_regions[region], settings), _most(after[piece.mask]), piece.label
        own = thing_labels.index(became if became in thing_labels else pixels)
        if labels[0] == 0 and _fits_nothing(seen, own, count, settings):
            ruled_out |= nearest == number
            became = 0
        name = names[own] if 0 < became <= competition.asked else None
        evidence.append(_evidence(piece, names, seen, thing_labels.index(pixels), own, name))
    if ruled_out.any():
        decided = to_background(decided, torch.from_numpy(ruled_out), rows)
    return ScoreMaps(decided.to(maps.scores.device), labels), tuple(evidence)


def find_parts(mask: Mask, label: int, settings: PartCheckSettings) -> list[Part]:
    """Return the 4-connected pieces of a mask (h, w) that are not too small."""
    numbered, _ = ndimage.label(mask)
    found = []
    for number, place in enumerate(ndimage.find_objects(numbered), start=1):
        piece = numbered == number
        if np.count_nonzero(piece) >= settings.min_part_px:
            found.append(Part(piece, (place[0].start, place[0].stop, place[1].start, place[1].stop), label))
    return found


def redecide(scores: Tensor, rows: Sequence[int], bonus: Tensor, pixel_scale: float) -> Tensor:
    """Let things compete again by their scores and a bonus, and leave the best thing's score as it is.

    Args:
        scores: (C, h, w) float32.
        rows: the rows of T things.
        bonus: (T, h, w) float32, in nats.
        pixel_scale: the nats that a cosine of 1 is worth.

    Returns:
        (C, h, w) float32, new. At each pixel the largest thing score is as before, so no border between things and the
        rest moves.
    """
    things = scores[rows]
    top = things.amax(dim=0)
    weighed = things + bonus / max(pixel_scale, 1e-6)
    changed = scores.clone()
    changed[rows] = top + weighed - weighed.amax(dim=0)
    return changed


def to_background(scores: Tensor, mask: Tensor, rows: Sequence[int]) -> Tensor:
    """Return (C, h, w) scores in which background, the first row, wins where a thing did inside a mask (h, w) bool."""
    changed = scores.clone()
    thing = scores[rows].amax(dim=0)
    others = [row for row in range(1, len(scores)) if row not in rows]
    beyond = scores[others].amax(dim=0) if others else torch.full_like(thing, -1.0)
    changed[0] = torch.where(mask & (thing >= beyond), torch.maximum(scores[0], thing + _NUDGE), scores[0])
    return changed


def leave_uncertain_stuff(maps: ScoreMaps, stuff: frozenset[int], settings: PartCheckSettings) -> ScoreMaps:
    """Give stuff of which there is little, and which barely wins, to the runner-up; the weakest goes first.

    Windows of features smear borders: between sky and ground a strip looks like wall. A real wall is large or certain.
    """
    scores = maps.scores.clone()
    rows = [row for row, label in enumerate(maps.labels) if label - 1 in stuff]
    while settings.stuff_min_share > 0 and len(scores) > 1:
        (first, second), place = scores.topk(2, dim=0).values, scores.argmax(dim=0)
        found = [(float((first - second)[place == row].mean()), row) for row in rows if (place == row).any()]
        weak = [
            (margin, row)
            for margin, row in found
            if margin < settings.stuff_min_margin and float((place == row).float().mean()) < settings.stuff_min_share
        ]
        if not weak:
            break
        scores[min(weak)[1]] = -1.0
    return ScoreMaps(scores, maps.labels)


def cut_crop(
    image: NDArray[np.uint8], box: tuple[int, int, int, int], wider: float, settings: PartCheckSettings
) -> NDArray[np.uint8]:
    """Cut a box (top, bottom, left, right) with surroundings out of an image (h, w, 3), as a square for CLIP.

    The box becomes ``wider`` times as much wider and higher, and no narrower than ``min_aspect``. What would lie
    outside the image is left off.
    """
    top, bottom, left, right = box
    half_h, half_w = (bottom - top) * (1 + wider) / 2, (right - left) * (1 + wider) / 2
    longer = settings.min_aspect * max(half_h, half_w)
    half_h, half_w = max(half_h, longer), max(half_w, longer)
    centre_y, centre_x = (top + bottom) / 2, (left + right) / 2
    first_y, first_x = max(0, round(centre_y - half_h)), max(0, round(centre_x - half_w))
    last_y, last_x = round(centre_y + half_h), round(centre_x + half_w)
    crop = image[first_y : max(last_y, first_y + 1), first_x : max(last_x, first_x + 1)]
    square = Image.fromarray(crop).resize((settings.crop_px, settings.crop_px), Image.Resampling.BICUBIC)
    return np.asarray(square)


def embed_boxes(parts: SegmentingParts, image: NDArray[np.uint8], boxes: Sequence[tuple[int, int, int, int]]) -> Tensor:
    """Return CLIP's view of each box, (N, P) float32 of length 1, on the CPU: the mean of its crops' embeddings.

    Args:
        parts: the models; call this inside ``with parts.models.lock``.
        image: (h, w, 3), the working image.
        boxes: (top, bottom, left, right) in px of the working image.

    Raises:
        WeightsError: CLIP cannot be loaded.
    """
    preset, settings = parts.preset, parts.preset.part_check
    crops = [cut_crop(image, box, wider, settings) for box in boxes for wider in settings.crops_wider]
    step = max(1, preset.extractors.batch_size)
    seen = [
        parts.clip.embed_images(
            np.stack(crops[start : start + step]), preset.prefilter.statistics, preset.prefilter.resampling
        )
        for start in range(0, len(crops), step)
    ]
    if not seen:
        return torch.empty(0, 0)
    by_box = torch.cat(seen).float().cpu().reshape(len(boxes), len(settings.crops_wider), -1).mean(dim=1)
    return torch.nn.functional.normalize(by_box, dim=1)


def _cosines(
    parts: SegmentingParts,
    encoded: EncodedImage,
    pieces: Sequence[Part],
    labels: Sequence[int],
    competition: Competition,
    learned: LearnedViews | None,
) -> NDArray[np.float64]:
    """Return CLIP's cosines (pieces, things and texts); -1 for a word that its text encoder cannot read.

    What was learned from crops is added to those of things, divided by the logit scale.
    """
    boxes = list(dict.fromkeys(piece.box for piece in pieces))  # A thing of one word is both a part and a region.
    images = embed_boxes(parts, encoded.working, boxes)[[boxes.index(piece.box) for piece in pieces]]
    cosines = text_cosines(parts, images, [competition.vocabulary.categories[label - 1] for label in labels])
    if learned is not None:
        cosines = cosines + learned.cosines(images, labels)
    of_texts = [_nearest(parts, images, (text,))[:, None] for text in competition.texts]
    return np.concatenate([cosines, *of_texts], axis=1)


def text_cosines(parts: SegmentingParts, images: Tensor, categories: Sequence[Category]) -> NDArray[np.float64]:
    """Return the cosine (N, C) of CLIP's views of crops (N, P) with the nearest phrase of each category.

    It is -1 for a category whose phrases CLIP's text encoder cannot read. Call it inside ``with parts.models.lock``.

    Raises:
        WeightsError: CLIP cannot be loaded.
    """
    known = parts.preset.generation.phrases
    return np.stack([_nearest(parts, images, with_phrase(each, known).phrases) for each in categories], axis=1)


def _nearest(parts: SegmentingParts, images: Tensor, phrases: Sequence[str]) -> NDArray[np.float64]:
    """Return the cosine (N,) of each image with the phrase that is nearest to it; a part shows one of "mug; cup"."""
    template = parts.preset.prefilter.template
    vectors = [v for v in parts.texts.embed([template.replace("{category}", p) for p in phrases]) if v is not None]
    if not vectors:
        return np.full(len(images), -1.0)
    return (images @ torch.stack(vectors).float().cpu().T).amax(dim=1).double().numpy()


def _nearest_part(parts: Sequence[Part], size_hw: tuple[int, ...]) -> NDArray[np.intp]:
    """Return the number of the part that is nearest to each pixel, (h, w).

    What holds for a part holds for the fragments around it too, which are too small to be parts. Pixels outside of all
    parts are asked too: maps are enlarged later, and a step at a part's border would be smeared over it.
    """
    owner = np.full(size_hw, -1)
    for number, part in enumerate(parts):
        owner[part.mask] = number
    rows, columns = ndimage.distance_transform_edt(owner < 0, return_distances=False, return_indices=True)
    nearest: NDArray[np.intp] = owner[rows, columns]
    return nearest


def _in_fragments(regions: Sequence[Part], pieces: Sequence[Part], best: NDArray[np.int_]) -> list[Part]:
    """Return the regions without a piece, each as one piece of the word that most of its pixels have."""
    taken = np.zeros(best.shape, dtype=np.bool_)
    for piece in pieces:
        taken |= piece.mask
    left = [region for region in regions if not taken[region.mask].any()]
    return [replace(region, label=_most(best[region.mask])) for region in left]


def _owners(pieces: Sequence[Part], regions: Sequence[Part]) -> list[int]:
    """Return the region of each piece; a piece lies in one region, because regions are connected."""
    found = []
    for piece in pieces:
        place = np.unravel_index(int(piece.mask.argmax()), piece.mask.shape)
        found.append(next(number for number, region in enumerate(regions) if region.mask[place]))
    return found


def _mixed(piece: NDArray[np.float64], region: NDArray[np.float64], settings: PartCheckSettings) -> NDArray[np.float64]:
    """Return the shares of all words by piece and region together, in the same proportions as the pixels get them."""
    weights = settings.part_weight + settings.region_weight
    if weights == 0:
        return softmax(settings.logit_scale * piece)
    cosines = (settings.part_weight * piece + settings.region_weight * region) / weights
    return softmax(settings.logit_scale * cosines)


def _fits_nothing(shares: NDArray[np.float64], own: int, count: int, settings: PartCheckSettings) -> bool:
    """Say whether a word that only CLIP knows fits much better than a part's own word."""
    texts = shares[count:]
    return bool(texts.size) and bool(shares[own] < settings.min_share * texts.max())


def _evidence(
    piece: Part, names: Sequence[str], shares: NDArray[np.float64], pixels: int, own: int, became: str | None
) -> PartEvidence:  # fmt: skip
    height, width = piece.mask.shape
    top, bottom, left, right = piece.box
    told = dict.fromkeys([*np.argsort(-shares, kind="stable")[:_TOLD].tolist(), own, pixels])
    return PartEvidence(
        box=(left / width, top / height, right / width, bottom / height),
        area_share=float(piece.mask.mean()),
        by_pixels=names[pixels],
        became=became,
        shares=tuple((names[index], float(shares[index])) for index in told),
    )


def _largest(pieces: Sequence[Part], settings: PartCheckSettings) -> list[Part]:
    return sorted(pieces, key=lambda piece: -np.count_nonzero(piece.mask))[: settings.max_parts]


def _most(labels: NDArray[np.int_]) -> int:
    return int(np.bincount(labels).argmax())
