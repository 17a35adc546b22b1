"""Does the generator know the word? CLIP says how many support images it takes for the word, and not for an anchor.

::

    margin(image) = max_phrase cos(image, phrase) - max_anchor cos(image, anchor)
    CLIP agrees with an image if its margin is at least -near_cosine

A generator draws something for every word. What it draws for a word that it does not know looks like nothing, or like
another word. An image shows more than its word, such as the water around a boat, so words that fit it nearly as well as
the fittest anchor count as agreement. The method has no such check (P, R): it is for the people who choose the words.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.bank.judgement import Judgement
from ovdiff.building.parts import BuildingParts
from ovdiff.models.anchor_texts import Anchors
from ovdiff.models.memory import Work, batch_size, run_in_batches
from ovdiff.presets.segmenting_settings import AnchorSettings


def judge_images(
    parts: BuildingParts, images: Sequence[NDArray[np.uint8]], phrases: Sequence[str], key: str
) -> Judgement | None:
    """Return CLIP's judgement of a category's support images; ``None`` if no phrase or no anchor can be compared.

    Cost: one pass of CLIP's image encoder for each image; the anchors' texts are embedded once.

    Args:
        parts: the models; their lock is held while a batch is embedded.
        images: the support images as they were drawn, each (S, S, 3) uint8 RGB, at least one.
        phrases: the category's phrases.
        key: the content address of all that judges.

    Raises:
        WeightsError: CLIP cannot be loaded.
        DeviceMemoryError: not even one image fits into the device's memory.
    """
    with parts.models.lock:
        own, anchors = parts.anchor_texts.phrases(phrases), parts.anchor_texts.beside(phrases)
    if not len(own) or not anchors.words:
        return None
    embedded = _embed(parts, images)
    return judge_vectors(embedded, own, anchors, parts.preset.anchors, key)


def judge_vectors(images: Tensor, own: Tensor, anchors: Anchors, settings: AnchorSettings, key: str) -> Judgement:
    """Return the judgement of unit vectors: images (N, P), a category's phrases (K, P), and anchors."""
    fittest = (images @ anchors.vectors.T).max(dim=1)
    margins = (images @ own.T).amax(dim=1) - fittest.values
    agrees = (margins >= -settings.near_cosine).tolist()
    others = [
        anchors.words[index] for index, agreed in zip(fittest.indices.tolist(), agrees, strict=True) if not agreed
    ]
    rival, count = Counter(others).most_common(1)[0] if others else ("", 0)
    return Judgement(len(images), sum(agrees), float(margins.mean()), rival, count, settings.doubtful_below, key)


def _embed(parts: BuildingParts, images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Return CLIP's unit vectors (N, P) of images, on the models' device."""
    preset, found = parts.preset, list[Tensor]()
    extractors, prefilter = preset.extractors, preset.prefilter
    work = Work(
        "judging a support image", extractors.batch_size, extractors.clip.mib_per_image, preset.memory.build_gib
    )

    def embed(batch: Sequence[NDArray[np.uint8]]) -> None:
        with parts.models.lock:
            found.append(parts.clip.embed_images(np.stack(batch), prefilter.statistics, prefilter.resampling))

    with parts.models.lock:
        _ = parts.clip  # Its weights are loaded first: the batch is given the memory that they leave.
        size = batch_size(parts.models.device, work)
    run_in_batches(images, size, embed, work.name)
    return torch.cat(found)
