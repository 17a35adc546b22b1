"""MaskCut: class-agnostic masks by repeated normalised cuts of DINO's key affinities (D.1).

Two things differ from the released code. The second eigenvector comes from a sparse solver on ``D^-1/2 A D^-1/2`` with
a fixed start; a device whose option ``device_masks`` is on has one of its own (:mod:`ovdiff.proposals.device_cuts`). At
3,600 patches the sparse solver takes 0.2 s, where the dense generalised solver takes 12 s for the same bipartition
(D.4). PAMR takes the place of the dense CRF unless ``refiner`` says otherwise: it needs no compiled package, and on
drawn images their masks agree with the truth alike (D.4).
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ovdiff.extractors.dino import dino_transformer
from ovdiff.extractors.transformer import TransformerExtractor
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import ModelSettings
from ovdiff.presets.needs import proposal_settings
from ovdiff.presets.part_settings import DinoFeatureSettings, MaskCutSettings
from ovdiff.presets.segmenting_settings import RefineSettings
from ovdiff.proposals.crf import crf, dense_crf

if TYPE_CHECKING:
    import torch

_NO_EDGE = 1e-5
"""The weight of an edge between patches that are not alike."""
_log = logging.getLogger(__name__)
_CORNERS = ((0, 0), (0, -1), (-1, 0), (-1, -1))


def make_proposer(preset: Preset, models: LoadedModels) -> "MaskCut":
    """Make the proposer of a preset, on the preset's DINO."""
    settings = proposal_settings(preset, MaskCutSettings)
    reads = DinoFeatureSettings(layer=settings.layer, statistics=settings.statistics)
    if settings.refine and settings.refiner == "crf":
        dense_crf()  # Before the first image: what is missing is said at once.
    dino = dino_transformer(models.vit(preset.models.given("dino", ModelSettings)))
    device = models.device if models.options.device_masks else None
    return MaskCut(TransformerExtractor(dino, reads, "proposals.maskcut"), settings, device)


class MaskCut:
    """Proposes up to ``masks`` disjoint masks of an image. Cost: one ViT pass, and one eigenproblem for each mask."""

    def __init__(
        self, dino: TransformerExtractor, settings: MaskCutSettings, device: "torch.device | None" = None
    ) -> None:
        """Use the keys of a self-supervised transformer; cut, and fit masks to edges, on a device if one is given."""
        self._dino, self._settings, self._device = dino, settings, device

    def propose(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return masks (J, H, W), 0 <= J <= masks, of an (H, W, 3) uint8 RGB image.

        Masks are found on the image stretched to a square, and then resized to the image (D.1.1, D.1.7, D.1.8).
        """
        settings = self._settings
        height, width = image.shape[:2]
        square = (settings.input_px, settings.input_px)
        stretched = np.array(Image.fromarray(image).resize(square, Image.Resampling.LANCZOS))
        keys = self._dino.keys(stretched[None], settings.input_px)[0].permute(1, 2, 0)
        if self._device is None:
            found = cut_masks(keys.cpu().numpy(), settings)
        else:
            found = cut_masks_on_the_device(keys.to(self._device), settings)
        masks = [_resize(mask, square) for mask in found]
        if settings.refine:
            refined = (refine_mask(stretched, mask, settings, self._device) for mask in masks)
            masks = [mask for mask in refined if mask is not None]
        large = [_resize(mask, (height, width)) for mask in masks]
        return np.array(large, dtype=np.bool_).reshape(-1, height, width)


def cut_masks(keys: NDArray[np.float32], settings: MaskCutSettings) -> list[NDArray[np.bool_]]:
    """Cut objects out of a feature map, the most salient first.

    Args:
        keys: (h, w, D) float32.
        settings: the threshold, the number of rounds, and which masks are dropped.

    Returns:
        Disjoint masks (h, w) bool, at most one for each round.
    """

    def split(taken: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return bipartition(np.where(taken[..., None], 0.0, keys), settings.tau)

    return _cut((keys.shape[0], keys.shape[1]), settings, split)


def cut_masks_on_the_device(keys: "torch.Tensor", settings: MaskCutSettings) -> list[NDArray[np.bool_]]:
    """Cut objects out of a feature map (h, w, D) as `cut_masks` does, on the device on which it is."""
    from ovdiff.proposals.device_cuts import DeviceCuts

    size_hw, cuts = (keys.shape[0], keys.shape[1]), DeviceCuts(keys, settings.tau)
    return _cut(size_hw, settings, lambda taken: salient_side(cuts(taken).reshape(size_hw)))


def _cut(
    size_hw: tuple[int, int], settings: MaskCutSettings, split: Callable[[NDArray[np.bool_]], NDArray[np.bool_]]
) -> list[NDArray[np.bool_]]:
    """Cut masks one after another; ``split`` returns the salient part (h, w) without the patches (h, w) taken."""
    taken: NDArray[np.bool_] = np.zeros(size_hw, dtype=np.bool_)
    previous = taken
    masks: list[NDArray[np.bool_]] = []
    for number in range(settings.masks):
        mask = split(taken)
        # The first mask is never dropped. A dropped mask takes no patches, and is the empty "previous" of the next.
        if number > 0 and (_iou(mask, previous) > settings.max_overlap or mask.mean() <= settings.min_area):
            mask = np.zeros_like(mask)
        fresh = mask & ~taken
        if fresh.any():
            masks.append(fresh)
        previous, taken = mask, taken | mask
        if taken.all():  # No patch is left to cut.
            break
    return masks


def bipartition(keys: NDArray[np.float32], tau: float) -> NDArray[np.bool_]:
    """Split a feature map (h, w, D) in two and return the connected salient part (h, w)."""
    height, width, depth = keys.shape
    return salient_side(second_eigenvector(affinity(keys.reshape(-1, depth), tau)).reshape(height, width))


def salient_side(vector: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Split a map (h, w) in two and return the connected salient part (h, w).

    The second eigenvector is split at its mean, and the seed is its largest absolute entry. The foreground is the side
    above the mean, or the other side if the first holds three image corners or does not hold the seed.
    """
    foreground = vector > vector.mean()
    corners = sum(bool(foreground[corner]) for corner in _CORNERS)
    seed = np.unravel_index(np.abs(vector).argmax(), vector.shape)
    if corners >= 3 or not foreground[seed]:
        foreground, vector = ~foreground, -vector
    seed = np.unravel_index(vector.argmax(), vector.shape)
    parts, _ = ndimage.label(foreground)  # 4-connected
    connected: NDArray[np.bool_] = (parts == parts[seed]) & foreground
    return connected


def affinity(vectors: NDArray[np.float32], tau: float) -> NDArray[np.float32]:
    """Return the graph (n, n) of vectors (n, D): an edge is 1 if the cosine exceeds tau, and else nearly 0."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(norms, 1e-12)  # Patches that are already taken are zero, and so are their cosines.
    return np.where(unit @ unit.T > tau, 1.0, _NO_EDGE).astype(np.float32)


def second_eigenvector(graph: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the second-smallest solution (n,) of the normalised cut ``(D - A) x = lambda D x``.

    The sign of a solution is free, but it may decide the bipartition. Here the largest absolute entry is made positive.
    """
    scale = 1 / np.sqrt(graph.sum(axis=1))
    second = scale * _second_largest(scale[:, None] * graph * scale[None, :])
    signed: NDArray[np.float32] = second * np.sign(second[np.abs(second).argmax()])
    return signed


def _second_largest(symmetric: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the eigenvector (n,) of the second-largest eigenvalue.

    If the sparse solver does not converge the dense solver is used, which takes many seconds.
    """
    from scipy.linalg import eigh
    from scipy.sparse.linalg import ArpackError, eigsh

    size = len(symmetric)
    # Any fixed start will do except a constant one, which is nearly the first eigenvector.
    start = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    if size > 2:  # The sparse solver takes no smaller matrix.
        try:
            values, vectors = eigsh(symmetric, k=2, which="LA", v0=start)
            return vectors[:, values.argmin()]
        except ArpackError as error:
            _log.warning("MaskCut's sparse eigen-solver failed (%s); solving densely", error)
    _, vectors = eigh(symmetric.astype(np.float64), subset_by_index=[max(0, size - 2), size - 1])
    found: NDArray[np.float32] = vectors[:, 0].astype(np.float32)
    return found


def refine_mask(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    settings: MaskCutSettings,
    device: "torch.device | None" = None,
) -> NDArray[np.bool_] | None:
    """Fit a mask (H, W) to the image's edges by PAMR or a dense CRF, and fill its holes.

    Returns:
        The refined mask, or ``None`` if its IoU with the given mask is below ``min_agreement`` (D.1.8).

    Raises:
        ModuleNotFoundError: ``refiner`` is "crf", and pydensecrf is not installed.
    """
    refined = crf(image, mask) if settings.refiner == "crf" else _by_pamr(image, mask, device)
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(refined)
    return filled if _iou(filled, mask) >= settings.min_agreement else None


def _by_pamr(image: NDArray[np.uint8], mask: NDArray[np.bool_], device: "torch.device | None") -> NDArray[np.bool_]:
    import torch

    from ovdiff.models.pamr import pamr

    scores = torch.from_numpy(np.stack([~mask, mask]).astype(np.float32)).to(device or "cpu")
    refined = pamr(image, scores, RefineSettings(pamr=True)).argmax(dim=0)
    fitted: NDArray[np.bool_] = refined.cpu().numpy().astype(np.bool_)
    return fitted


def _resize(mask: NDArray[np.bool_], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Resize a mask by nearest neighbour."""
    rows, columns = (np.arange(size) * length // size for size, length in zip(size_hw, mask.shape, strict=True))
    return mask[np.ix_(rows, columns)]


def _iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 0.0
