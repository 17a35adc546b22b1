"""The offline half: one category's phrases to its prototype set."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ovdiff.errors import SupportError
from ovdiff.generation.diffusion import Generated, plan_batches
from ovdiff.parts import Parts
from ovdiff.presets.schema import ExtractorName
from ovdiff.proposals import THRESHOLDERS
from ovdiff.proposals.threshold import Thresholds
from ovdiff.prototypes import FeatureSpacePrototypes, PrototypeSet, build_prototypes, cell_mask
from ovdiff.support import SupportImage, SupportSet, choose_masks, threshold_masks

Progress = Callable[[str, float], None]
"""Called with a stage ("generating", "masking", "extracting", "done") and the fraction done, 0 to 1."""

Masks = tuple[NDArray[np.bool_], NDArray[np.bool_]]

_GENERATING, _MASKING = 0.8, 0.85  # share of the time at the end of each stage; sampling is most of it


def make_support_set(parts: Parts, phrases: Sequence[str], progress: Progress) -> SupportSet:
    """Generate a category's support images and find foreground and background in each.

    Raises:
        VocabularyError: a phrase does not fit into the prompt.
        SupportError: no image shows the category.
    """
    generated = _generate(parts, phrases, progress)
    progress("masking", _GENERATING)
    masks = find_masks(parts, generated)
    support = SupportSet(
        tuple(
            SupportImage(image, attribution, *pair)
            for image, attribution, pair in zip(generated.images, generated.attributions, masks, strict=True)
        )
    )
    if not support.with_foreground():
        raise SupportError(
            f"None of the {len(masks)} images generated for {' / '.join(phrases)!r} has a foreground. "
            f"Try another prompt, another seed, or other proposals than {parts.preset.proposals.source!r}."
        )
    return support


def make_prototype_set(parts: Parts, support: SupportSet, progress: Progress) -> PrototypeSet:
    """Extract features of a support set and turn them into prototypes, for each extractor in use.

    Raises:
        SupportError: an extractor has no usable feature of the foreground.
    """
    names = parts.preset.extractors.use
    spaces = {}
    for index, name in enumerate(names):
        progress("extracting", _MASKING + (1 - _MASKING) * index / len(names))
        spaces[str(name)] = _one_space(parts, name, support)
    return PrototypeSet(spaces)


def find_masks(parts: Parts, generated: Generated) -> list[Masks]:
    """Return (foreground, background), each (H, W) bool, of each generated image (A.4)."""
    settings, attributions = parts.preset.proposals, generated.attributions
    if settings.source in THRESHOLDERS:
        thresholds = THRESHOLDERS[settings.source](attributions, settings)
        return [threshold_masks(*pair) for pair in zip(attributions, thresholds, strict=True)]
    fallback = Thresholds(settings.fixed_foreground, settings.fixed_background)
    masks = []
    for image, attribution in zip(generated.images, attributions, strict=True):
        with parts.lock:
            proposals = parts.proposer.propose(image)
        masks.append(choose_masks(attribution, proposals, parts.preset.support, fallback))
    return masks


def _generate(parts: Parts, phrases: Sequence[str], progress: Progress) -> Generated:
    """Sample all images; the result is ordered by their numbers, whatever the batches were."""
    settings = parts.preset.generation
    batches = plan_batches(phrases, settings.images, settings.batch_size)
    total, done = len(batches) * settings.steps, 0

    def on_step() -> None:
        nonlocal done
        done += 1
        progress("generating", _GENERATING * done / total)

    progress("generating", 0.0)
    results = []
    for batch in batches:
        with parts.lock:  # held for one batch, so that predictions get their turn
            results.append(parts.generator.generate(batch, on_step))
    order = np.argsort([number for batch in batches for number in batch.numbers])
    return Generated(
        np.concatenate([result.images for result in results])[order],
        np.concatenate([result.attributions for result in results])[order],
    )


def _one_space(parts: Parts, name: ExtractorName, support: SupportSet) -> FeatureSpacePrototypes:
    foreground: list[NDArray[np.float32]] = []
    background: list[NDArray[np.float32]] = []
    size, coverage = parts.preset.extractors.batch_size, parts.preset.prototypes.mask_coverage
    for start in range(0, len(support.images), size):
        batch = support.images[start : start + size]
        with parts.lock:
            features = parts.extractor(name).extract(np.stack([item.image for item in batch]), "support")
        for item, maps in zip(batch, features.permute(0, 2, 3, 1).cpu().numpy(), strict=True):
            foreground.append(maps[cell_mask(item.foreground, maps.shape[:2], coverage)])
            background.append(maps[cell_mask(item.background, maps.shape[:2], coverage)])
    prototypes = build_prototypes(foreground, background, parts.preset.prototypes, str(parts.models.device))
    if not len(prototypes.foreground.vectors):
        raise SupportError(
            f"There are no usable {name} features of its foreground in any of the {len(support.images)} images: it "
            f"covers no feature cell, or the features are not finite. Lower prototypes.mask_coverage ({coverage}), or "
            f"give models.{name} a wider dtype than {getattr(parts.preset.models, name).dtype!r}."
        )
    return prototypes
