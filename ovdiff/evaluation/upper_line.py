"""An upper line for masks: SAM with boxes or points of the truth, evaluated like an engine and marked as none.

Whoever gives boxes of the truth has said what is where; what is left is how well outlines follow objects. The result
has every figure of an engine's, and says everywhere that the truth was given. Never imports torch before an image is
asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ovdiff.bank import Bank
from ovdiff.baselines.preset import SAM, SamPreset
from ovdiff.engines import EnginePreset, SegmentationEngine, make_engine
from ovdiff.errors import EvaluationError, PresetError
from ovdiff.evaluation.dataset import LabelledImage, Truth
from ovdiff.models.weights import weights_identity
from ovdiff.presets.files import read_preset
from ovdiff.presets.mapping import build
from ovdiff.presets.validation import check_bounds
from ovdiff.segmentation import FoundObject, Segmentation
from ovdiff.vocabulary import Vocabulary
from ovdiff.without_prototypes import WithoutPrototypes

if TYPE_CHECKING:
    from ovdiff.baselines.sam import SamUpperLine

UPPER_LINES = {"sam": SamPreset(), "sam-points": SamPreset("sam-points", prompts="points")}
"""The upper lines that have a name."""

_TOUCHING = np.ones((3, 3), dtype=np.bool_)


@runtime_checkable
class SeesTruth(Protocol):
    """What is evaluated like an engine, but is given a part of the truth."""

    @property
    def given(self) -> str:
        """What of the truth it is given, in a few words."""
        ...

    def encode_labelled(self, labelled: LabelledImage) -> Any:
        """Return what :meth:`label` takes, of an image with its truth."""
        ...

    def label(self, encoded: Any, vocabulary: Vocabulary) -> Segmentation:
        """Return the segmentation of an image for the vocabulary of its dataset."""
        ...


@dataclass(frozen=True)
class DrawnRegions:
    """The regions of an image's truth, as SAM drew them.

    Attributes:
        labels: the label of each region, from 1.
        masks: (N, H, W) bool.
        trust: (N,) float32: SAM's own estimate of each mask's IoU.
    """

    labels: tuple[int, ...]
    masks: NDArray[np.bool_]
    trust: NDArray[np.float32]


def load_upper_line(name_or_path: str) -> SamPreset:
    """Return an upper line by its name, or from a ``.toml`` file with fields of :class:`SamPreset`.

    Raises:
        PresetError: there is no such upper line or file, or a field is unknown or impossible.
    """
    if name_or_path in UPPER_LINES:
        return UPPER_LINES[name_or_path]
    known = ", ".join(UPPER_LINES)
    if Path(name_or_path).suffix != ".toml":
        raise PresetError(f"No upper line {name_or_path!r}. Known: {known}; or give a .toml file with its fields.")
    where = f"Upper line {name_or_path!r}"
    mapping = read_preset(name_or_path)
    if mapping.get("engine", SAM) != SAM:
        raise PresetError(f"{where} is a preset of the engine {mapping['engine']!r}. Evaluate it with --preset.")
    preset = build(SamPreset, {"name": Path(name_or_path).stem, **mapping}, where, {})
    check_bounds(preset)
    return preset


def make_evaluated(preset: EnginePreset, bank: Bank, device: str) -> SegmentationEngine:
    """Return what is evaluated: the engine of a preset, or an upper line.

    Raises:
        OVDiffError: the engine cannot be made.
    """
    return UpperLine(preset, device) if isinstance(preset, SamPreset) else make_engine(preset, bank, device)


class UpperLine(WithoutPrototypes):
    """SAM, which is given the truth's boxes or points, in the place of an engine."""

    preset: SamPreset

    def __init__(self, preset: SamPreset, device: str = "cpu") -> None:
        """Load nothing yet."""
        self.preset, self._device = preset, device

    @property
    def given(self) -> str:
        """What of the truth SAM is given."""
        return f"the truth's {self.preset.prompts}"

    def weights(self) -> dict[str, str]:
        """Return what identifies SAM's weights; loads none.

        Raises:
            WeightsError: its files are missing.
        """
        return {"sam": weights_identity(self.preset.models.sam)}

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        """Refuse: without the truth there is nothing to give SAM.

        Raises:
            EvaluationError: always.
        """
        raise EvaluationError(
            f"{self.preset.name!r} is given {self.given}, so it can be evaluated and not used. Choose a preset."
        )

    def encode_labelled(self, labelled: LabelledImage) -> DrawnRegions:
        """Have SAM draw every region of an image's truth.

        Raises:
            ImageError: the image has another form.
            WeightsError: SAM cannot be loaded.
        """
        regions = true_regions(labelled.truth)
        masks = [mask for _, mask in regions]
        if self.preset.prompts == "boxes":
            drawn = self._line.for_boxes(labelled.image, np.array([box_xyxy(mask) for mask in masks]))
        else:
            drawn = self._line.for_points(labelled.image, np.array([deepest_xy(mask) for mask in masks]))
        return DrawnRegions(tuple(label for label, _ in regions), drawn.masks, drawn.trust)

    def label(self, encoded: DrawnRegions, vocabulary: Vocabulary) -> Segmentation:
        """Lay the masks over one another, the smallest on top; each of them is an object.

        Args:
            encoded: the drawn regions.
            vocabulary: that of the dataset, whose labels the regions have.
        """
        shape = encoded.masks.shape[1:]
        ids, scores = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.float32)
        for place in np.argsort(-encoded.masks.sum(axis=(1, 2)), kind="stable"):
            ids[encoded.masks[place]] = place + 1
            scores[encoded.masks[place]] = encoded.trust[place]
        if self.preset.fills and ids.any():
            nearest = ndimage.distance_transform_edt(ids == 0, return_distances=False, return_indices=True)
            ids, scores = ids[tuple(nearest)], scores[tuple(nearest)]
        labels = np.array([0, *encoded.labels], dtype=np.int32)[ids]
        return Segmentation(labels, scores, np.zeros_like(scores), instance_map=ids)

    def with_instances(
        self, image: NDArray[np.uint8], segmentation: Segmentation, vocabulary: Vocabulary
    ) -> Segmentation:
        """Return the segmentation as it is: :meth:`label` tells objects apart."""
        return segmentation

    def detections(self, encoded: DrawnRegions, vocabulary: Vocabulary) -> list[FoundObject]:
        """Return the masks of things, which may overlap, the surest first."""
        found = [
            FoundObject(label - 1, mask, float(trust))
            for label, mask, trust in zip(encoded.labels, encoded.masks, encoded.trust, strict=True)
            if vocabulary.categories[label - 1].kind != "stuff" and mask.any()
        ]
        return sorted(found, key=lambda each: -each.score)

    @cached_property
    def _line(self) -> "SamUpperLine":
        from ovdiff.baselines.sam import SamUpperLine
        from ovdiff.models.devices import require_device
        from ovdiff.models.loaded import LoadedModels

        require_device(self._device)
        return SamUpperLine(self.preset.settings, LoadedModels(self._device))


def true_regions(truth: Truth) -> list[tuple[int, NDArray[np.bool_]]]:
    """Return the regions of a truth, each with its label, none empty.

    Segments, if the dataset has them; else its objects, and of every other pixel the connected regions of one label.
    """
    if truth.segments is not None:
        labels: Sequence[int] = truth.segments.categories
        masks = ((label, truth.segments.ids == place) for place, label in enumerate(labels, start=1))
        return [(label, mask) for label, mask in masks if mask.any()]
    rest, found = truth.label_map.copy(), []
    for each in truth.objects or ():
        if each.mask.any() and not each.is_crowd:
            found.append((each.label, each.mask))
            rest[each.mask] = 0
    for label in (np.unique(rest[rest > 0])).tolist():
        numbers, count = ndimage.label(rest == label, _TOUCHING)
        found += [(label, numbers == number) for number in range(1, count + 1)]
    return found


def box_xyxy(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the box of a mask that is not empty, (left, top, right, bottom) in px; right and bottom lie outside."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def deepest_xy(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the pixel (x, y) of a mask that is farthest from its edge and the image's."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), mask.shape)
    return int(x), int(y)
