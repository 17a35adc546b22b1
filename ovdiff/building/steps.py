"""The steps of building a category: phrases become support images, support images become a prototype set."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.bank.prototypes import FeatureSpacePrototypes, PrototypeSet
from ovdiff.bank.support import SupportImage, SupportSet
from ovdiff.bank.support_store import DrawnBatch, DrawnImage, Masks, Shelf
from ovdiff.building.drawing import draw_images
from ovdiff.building.generation.attribution import normalise_maps, scale_maps
from ovdiff.building.parts import BuildingParts
from ovdiff.building.prototypes import Features, build_prototypes, cell_mask
from ovdiff.building.support import choose_masks, threshold_masks
from ovdiff.errors import SupportError
from ovdiff.extractors.work import extraction
from ovdiff.models.memory import batch_size, memory_of, room_mib, run_in_batches
from ovdiff.presets import Preset
from ovdiff.presets.needs import dtype_fields, feature_dtype
from ovdiff.proposals import Thresholder
from ovdiff.proposals.threshold import Thresholds

Progress = Callable[[str, float], None]
"""Called with a stage ("generating", "masking", "extracting", "done") and the fraction done, 0 to 1."""

_GENERATING, _MASKING = 0.8, 0.85  # The share of the whole time that is over after each stage; sampling takes most.


def make_support_set(
    parts: BuildingParts, phrases: Sequence[str], progress: Progress, shelf: Shelf | None = None
) -> SupportSet:
    """Make a category's support set, and check that an image shows the category (see `draw_support_set`).

    Raises:
        SupportError: no image shows the category, or every image was refused as unsafe.
    """
    support = draw_support_set(parts, phrases, progress, shelf)
    require_foreground(support, phrases, parts.preset)
    return support


def require_foreground(support: SupportSet, phrases: Sequence[str], preset: Preset) -> None:
    """Check that an image of a support set shows the category.

    Raises:
        SupportError: none does; the message says what to do.
    """
    if support.with_foreground():
        return
    if support.rejected or not support.images:
        raise SupportError(
            f"No support image of {' / '.join(phrases)!r} is left: {len(support.rejected)} were rejected, and "
            f"{len(support.images)} others show nothing of it. Restore some (ovdiff prototypes restore), or add "
            f"an image of your own with a mask (ovdiff prototypes add-exemplar)."
        )
    raise SupportError(
        f"None of the {len(support.images)} images generated for {' / '.join(phrases)!r} has a foreground. "
        f"Try another prompt, another seed, or other proposals than {preset.proposals.source!r}."
    )


def draw_support_set(
    parts: BuildingParts, phrases: Sequence[str], progress: Progress, shelf: Shelf | None = None
) -> SupportSet:
    """Generate a category's support images, and find the foreground and background of each image.

    Args:
        parts: the models.
        phrases: they share the images evenly.
        progress: called with the stage and the fraction done.
        shelf: the place of stored images and masks, which are not made again.

    Raises:
        VocabularyError: a phrase does not fit into the prompt, or there are more phrases than images.
        SupportError: every image was refused as unsafe.
        DeviceMemoryError: not even one image fits into the device's memory.
        BankError: the images cannot be stored.
    """
    progress("generating", 0.0)
    batches = draw_images(parts, phrases, shelf, drawing_progress(progress))
    progress("masking", _GENERATING)
    drawn = _in_order(batches)
    attributions = enlarge([item.attribution for item in drawn], parts.preset.generation.size_px)
    masks = None if shelf is None else shelf.masks(drawn)
    if masks is None:
        masks = find_masks(parts, drawn, attributions)
        if shelf is not None:
            shelf.keep_masks(drawn, masks)
    return _support_set(batches, attributions, masks)


def drawing_progress(progress: Progress) -> Callable[[float], None]:
    """Return what reports the fraction of images that are drawn as a fraction of the whole build."""
    return lambda done: progress("generating", _GENERATING * done)


def stored_support_set(shelf: Shelf, preset: Preset) -> SupportSet | None:
    """Return a stored support set without running a model; ``None`` unless all of the set is stored."""
    batches = shelf.batches()
    settled = {number for batch in batches for number in batch.numbers}
    drawn = _in_order(batches)
    masks = shelf.masks(drawn) if drawn and settled >= set(range(preset.generation.images)) else None
    if masks is None:
        return None
    return _support_set(batches, enlarge([item.attribution for item in drawn], preset.generation.size_px), masks)


def make_prototype_set(parts: BuildingParts, support: SupportSet, progress: Progress) -> PrototypeSet:
    """Extract the features of a support set and turn them into prototypes, for each extractor in use.

    Raises:
        SupportError: an extractor has no usable feature of the foreground.
    """
    names = parts.preset.extractors.use
    spaces = {}
    for index, name in enumerate(names):
        progress("extracting", _MASKING + (1 - _MASKING) * index / len(names))
        spaces[name] = _one_space(parts, name, support)
    return PrototypeSet(spaces)


def find_masks(
    parts: BuildingParts, drawn: Sequence[DrawnImage], attributions: NDArray[np.float32]
) -> tuple[Masks, ...]:
    """Return the foreground and background of N drawn images with attributions (N, S, S), which are enlarged (A.4)."""
    settings = parts.preset.proposals
    with parts.models.lock:
        source = parts.source
    if isinstance(source, Thresholder):
        recorded = settings.threshold_maps == "recorded"
        thresholds = source.thresholds(_scaled([item.attribution for item in drawn]) if recorded else attributions)
        return tuple(threshold_masks(*pair) for pair in zip(attributions, thresholds, strict=True))
    fallback = Thresholds(settings.fixed_foreground, settings.fixed_background)
    masks = []
    for item, attribution in zip(drawn, attributions, strict=True):
        with parts.models.lock:
            proposals = source.propose(item.image)
        masks.append(choose_masks(attribution, proposals, parts.preset.support, fallback))
    return tuple(masks)


def enlarge(maps: Sequence[NDArray[np.float32]], size_px: int) -> NDArray[np.float32]:
    """Return recorded maps, each (g, g), as attributions (N, size_px, size_px) in [0, 1] (A.2.6).

    Maps are enlarged on the CPU and one by one, so that a stored map gives the same result as a new one, bit for bit.
    """
    large = [normalise_maps(torch.from_numpy(one)[None], size_px).numpy() for one in maps]
    return np.concatenate(large)


def _scaled(maps: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return recorded maps, each (g, g), scaled to [0, 1] and not enlarged, as (N, g, g)."""
    scaled: NDArray[np.float32] = scale_maps(torch.from_numpy(np.stack(maps))).numpy()
    return scaled


def _in_order(batches: Sequence[DrawnBatch]) -> list[DrawnImage]:
    """Return the images of all batches in the order of their numbers."""
    return sorted((item for batch in batches for item in batch.images), key=lambda item: item.number)


def _support_set(
    batches: Sequence[DrawnBatch], attributions: NDArray[np.float32], masks: Sequence[Masks]
) -> SupportSet:
    prompt_of = {item.number: batch.prompt for batch in batches for item in batch.images}
    images = tuple(
        SupportImage(item.image, attribution, *pair, seed=item.seed, prompt=prompt_of[item.number], number=item.number)
        for item, attribution, pair in zip(_in_order(batches), attributions, masks, strict=True)
    )
    return SupportSet(images, refused=sum(batch.refused for batch in batches))


def _one_space(parts: BuildingParts, name: str, support: SupportSet) -> FeatureSpacePrototypes:
    coverage = parts.preset.prototypes.mask_coverage
    sides = _masked_rows(parts, name, support.images, resident=parts.models.options.resident)
    foreground, background = ([side[index].rows for side in sides] for index in (0, 1))
    with _turn_of_k_means(parts):
        prototypes = build_prototypes(foreground, background, parts.preset.prototypes, str(parts.models.device))
    if not len(prototypes.foreground.vectors):
        raise SupportError(
            f"There are no usable {name} features of its foreground in any of the {len(support.images)} images: it "
            f"covers no feature cell, or the features are not finite. Lower prototypes.mask_coverage ({coverage}), or "
            f"give {' and '.join(dtype_fields(name)) or 'its models'} a wider dtype than "
            f"{feature_dtype(parts.preset, name)!r}."
        )
    return prototypes


def _turn_of_k_means(parts: BuildingParts) -> AbstractContextManager[object]:
    """Return the models' lock where k-means takes a device's memory; there it takes seconds.

    On a CPU it takes up to a minute and no lock, so that predictions go on.
    """
    by_torch = parts.preset.prototypes.clustering == "torch" or parts.models.options.resident
    on_device = by_torch and memory_of(parts.models.device) is not None
    return parts.models.lock if on_device else nullcontext()


class Masked(NamedTuple):
    """The features of one side of a support image.

    Attributes:
        cells: (h, w) bool, the cells of the feature grid that the side covers.
        rows: (n, D) float16 or float32, their features, in the order of the cells.
    """

    cells: NDArray[np.bool_]
    rows: NDArray[np.floating]


class _MaskedRows(NamedTuple):
    """What :class:`Masked` is, with rows that may be on the models' device."""

    cells: NDArray[np.bool_]
    rows: Features


def masked_features(
    parts: BuildingParts, name: str, images: Sequence[SupportImage]
) -> list[tuple[Masked, Masked]]:  # fmt: skip
    """Return an extractor's features under the foreground and under the background of each image.

    Only these features leave the device: at N = 32 and D = 6400 all features would take 3.4 GB in float32.

    Raises:
        WeightsError: the extractor's model cannot be loaded.
        DeviceMemoryError: not even one image fits into the device's memory.
    """
    found = _masked_rows(parts, name, images, resident=False)
    return [(Masked(one.cells, np.asarray(one.rows)), Masked(two.cells, np.asarray(two.rows))) for one, two in found]


def _masked_rows(
    parts: BuildingParts, name: str, images: Sequence[SupportImage], *, resident: bool
) -> list[tuple[_MaskedRows, _MaskedRows]]:
    """Return what `masked_features` does; with ``resident`` the rows stay on the device, if it has room for them all.

    They have room if the rows of all cells fit beside a batch, and twice beside the weights: k-means joins them.
    """
    found: list[tuple[_MaskedRows, _MaskedRows]] = []
    coverage = parts.preset.prototypes.mask_coverage
    work = extraction(parts.preset, name, parts.preset.memory.build_gib)
    with parts.models.lock:
        _ = parts.extractors[name]  # Its weights are loaded first: the batch is given the memory that they leave.
        size = batch_size(parts.models.device, work)
        room = room_mib(memory_of(parts.models.device), work.budget_gib)
    half = feature_dtype(parts.preset, name) == "float16"  # The further digits of float32 would hold only noise.

    def side(mask: NDArray[np.bool_], maps: Tensor, stay: bool) -> _MaskedRows:
        cells = cell_mask(mask, (maps.shape[0], maps.shape[1]), coverage)
        return _MaskedRows(cells, _under(cells, maps, half, stay))

    def run(batch: Sequence[SupportImage]) -> None:
        with parts.models.lock:
            features = parts.extractors.extract(name, np.stack([item.image for item in batch]), "support")
            all_mib = features[0].numel() * (2 if half else 4) * len(images) / (1 << 20)
            stay = resident and all_mib <= min(room - size * work.mib_per_item, room / 2)
            both = zip(batch, features.permute(0, 2, 3, 1), strict=True)
            found.extend(
                [(side(item.foreground, maps, stay), side(item.background, maps, stay)) for item, maps in both]
            )

    run_in_batches(images, size, run, work.name)
    return found


def _under(cells: NDArray[np.bool_], maps: Tensor, half: bool, stay: bool) -> Features:
    """Return the features (n, D) of maps (h, w, D) under the cells (h, w) that are true."""
    rows = maps[torch.from_numpy(cells).to(maps.device)]
    rows = rows.half() if half else rows
    return rows if stay else rows.cpu().numpy()
