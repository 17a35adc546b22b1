"""What becomes of one support image: what the method makes of its foreground, and what CLIP sees there.

The image is segmented as any other image is, by the same steps, with prototypes that were made without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.special import log_softmax, softmax
from torch import Tensor

from ovdiff.bank.support import SupportImage
from ovdiff.segmenting.encoding import encode_image
from ovdiff.segmenting.image_segmenter import ImageSegmenter
from ovdiff.segmenting.part_check import cut_crop
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.segmenting.steps import Step
from ovdiff.vocabulary import Category, Vocabulary, with_phrase

SHARPNESS = 80.0
"""Nats that a cosine of 1 is worth where pixels are compared by Eq. 4 alone; 20 and 40 forecast worse, by up to .02."""

AROUND = 1 / 25
"""How far the surroundings of a foreground reach, as a share of the image's shorter side."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Look:
    """What became of one held-out support image, among C categories.

    Attributes:
        category: the index of its category.
        pixels: (C + 1,) softmax shares of background and the categories in its foreground, by Eq. 4 alone.
        decided: (C + 1,) shares of its foreground pixels that became background or a category.
        certain: the mean softmax share of its own category in its foreground after all steps.
        beside: (C + 1,) shares of the pixels around its foreground that became background or a category; 0 for stuff.
        seen: (C,) CLIP's log shares of the categories for a crop of its foreground, or ``None`` without CLIP.
        area: the share of the image that the foreground covers; 1 for stuff.
    """

    category: int
    pixels: NDArray[np.float64]
    decided: NDArray[np.float64]
    certain: float
    beside: NDArray[np.float64]
    seen: NDArray[np.float64] | None
    area: float


def look_at(
    segmenter: ImageSegmenter, item: SupportImage, own: int, vocabulary: Vocabulary, texts: Sequence[Tensor] | None
) -> Look:
    """Segment a support image and see what becomes of its foreground.

    Cost: as much as segmenting the image once, and one more pass of CLIP.

    Args:
        segmenter: a segmenter whose prototypes were made without this image.
        item: the image, with a foreground.
        own: the index of its category.
        vocabulary: the C categories.
        texts: CLIP's unit vectors of each category's phrases, each (K, P), or ``None`` without CLIP.

    Raises:
        WeightsError: a model cannot be loaded.
        DeviceMemoryError: an image does not fit into the device's memory.
    """
    parts, count = segmenter.parts, len(vocabulary.categories)
    with parts.models.lock:
        encoded = encode_image(parts, item.image)
        match = segmenter.match(encoded, vocabulary, lessons=False)
        steps = list(segmenter.steps(match))
        is_stuff = own in segmenter.kinds.stuff(vocabulary)
        foreground = resized(item.foreground, encoded.working.shape[:2])
        seen = None if texts is None else see(parts, encoded.working, foreground, texts)
    pixels_only = [step for step in steps if step.name in ("votes", "PAMR")][-1]
    by_pixels, after = asked_scores(pixels_only, count), asked_scores(steps[-1], count)
    found = after.argmax(axis=0)
    around = surroundings(foreground) & (not is_stuff)
    own_share = softmax(parts.preset.part_check.pixel_scale * after[:, foreground], axis=0)[own + 1]
    return Look(
        category=own,
        pixels=softmax(SHARPNESS * by_pixels[:, foreground], axis=0).mean(axis=1),
        decided=shares(found[foreground], count),
        certain=float(own_share.mean()),
        beside=shares(found[around], count),
        seen=seen,
        area=1.0 if is_stuff else float(foreground.mean()),
    )


def asked_scores(step: Step, count: int) -> NDArray[np.float64]:
    """Return the scores of background, with the anchors, and of the asked categories, (count + 1, h, w) float64.

    A category that the prefilter removed scores -1 everywhere, and so does background if the preset has none.
    """
    scores = step.maps.scores.double().cpu().numpy()
    asked = np.full((count + 1, *scores.shape[1:]), -1.0)
    for label, row in zip(step.maps.labels, scores, strict=True):
        place = label if label <= count else 0  # An anchor that wins becomes background.
        asked[place] = np.maximum(asked[place], row)
    return asked


def resized(mask: Mask, size_hw: tuple[int, ...]) -> Mask:
    """Return a mask (H, W) at another size; a mask that would vanish keeps the place of its middle."""
    small = Image.fromarray(mask).convert("L").resize((size_hw[1], size_hw[0]), Image.Resampling.BILINEAR)
    changed: Mask = np.asarray(small) > 127
    if not changed.any():
        rows, columns = np.nonzero(mask)
        changed = np.zeros(size_hw, dtype=np.bool_)
        row, column = rows.mean() * size_hw[0] / mask.shape[0], columns.mean() * size_hw[1] / mask.shape[1]
        changed[min(int(row), size_hw[0] - 1), min(int(column), size_hw[1] - 1)] = True
    return changed


def surroundings(mask: Mask) -> Mask:
    """Return the pixels (H, W) outside of a mask that are near it."""
    reach = max(1, round(min(mask.shape) * AROUND))
    near: Mask = ndimage.binary_dilation(mask, iterations=reach) & ~mask
    return near


def shares(labels: NDArray[np.integer], count: int) -> NDArray[np.float64]:
    """Return the share (count + 1,) of each label 0..count among some labels (N,); zeros if there are none."""
    return np.bincount(labels, minlength=count + 1) / max(1, labels.size)


def embed_phrases(parts: SegmentingParts, categories: Sequence[Category]) -> list[Tensor]:
    """Return CLIP's unit vectors of each category's phrases, each (K, P) float32 on the CPU.

    K is 0 if the text encoder can read no phrase. Call it inside ``with parts.models.lock``.

    Raises:
        WeightsError: CLIP cannot be loaded.
    """
    template, found = parts.preset.prefilter.template, []
    for category in categories:
        phrases = with_phrase(category, parts.preset.generation.phrases).phrases
        vectors = parts.texts.embed([template.replace("{category}", phrase) for phrase in phrases])
        read = [vector.float().cpu() for vector in vectors if vector is not None]
        found.append(torch.stack(read) if read else torch.empty(0, 0))
    return found


def see(
    parts: SegmentingParts, image: NDArray[np.uint8], foreground: Mask, texts: Sequence[Tensor]
) -> NDArray[np.float64]:
    """Return CLIP's log shares (C,) for crops of the largest piece of a foreground (h, w) of an image (h, w, 3).

    The crops and the scale are those of the part check. Call it inside ``with parts.models.lock``.

    Raises:
        WeightsError: CLIP cannot be loaded.
    """
    settings, prefilter = parts.preset.part_check, parts.preset.prefilter
    box = _largest_box(foreground)
    crops = np.stack([cut_crop(image, box, wider, settings) for wider in settings.crops_wider])
    vector = parts.clip.embed_images(crops, prefilter.statistics, prefilter.resampling).float().cpu().mean(dim=0)
    unit = torch.nn.functional.normalize(vector, dim=0)
    cosines = [float((each @ unit).max()) if len(each) else -1.0 for each in texts]
    log_shares: NDArray[np.float64] = log_softmax(settings.logit_scale * np.array(cosines))
    return log_shares


def _largest_box(mask: Mask) -> tuple[int, int, int, int]:
    """Return the box (top, bottom, left, right) of the largest connected piece of a mask."""
    numbered, _ = ndimage.label(mask)
    largest = int(np.bincount(numbered.ravel())[1:].argmax())
    rows, columns = ndimage.find_objects(numbered)[largest]
    return rows.start, rows.stop, columns.start, columns.stop
