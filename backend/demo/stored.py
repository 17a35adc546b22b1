"""The predictions that Label Studio has stored, as arrays: the proof that they arrived as the backend meant them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.demo.api import LabelStudioApi, StoredTask
from backend.demo.errors import CheckError
from converters.encodings.overlaps import LabelledMask, masks_to_label_map
from converters.label_studio.label_config import parse_label_config
from converters.label_studio.reader import tasks_to_records
from converters.metrics.panoptic_quality import SegmentMap
from converters.records import Prediction, Region


@dataclass(frozen=True)
class StoredPredictions:
    """A task with all its predictions, oldest first."""

    task: StoredTask
    predictions: tuple[Prediction, ...]

    def of_version(self, model_version: str) -> Prediction:
        """Return the task's prediction of this model version.

        Raises:
            CheckError: the task has no prediction of this version, or several.
        """
        found = [prediction for prediction in self.predictions if prediction.model_version == model_version]
        if len(found) != 1:
            versions = ", ".join(prediction.model_version for prediction in self.predictions)
            raise CheckError(
                f"Task {self.task.id} ({self.task.file_name}) has {len(found)} predictions of {model_version}, "
                f"expected one; it has: {versions or 'none at all'}."
            )
        return found[0]


def read_predictions(
    api: LabelStudioApi, project: int, tasks: Sequence[StoredTask] | None = None
) -> list[StoredPredictions]:
    """Return tasks of a project, all of them by default, with the predictions that Label Studio has stored for them.

    Raises:
        CheckError: a stored region cannot be read, for instance because its mask has another size than the image.
    """
    config = parse_label_config(api.label_config(project))
    stored = []
    for task in api.tasks(project) if tasks is None else tasks:
        source = {"id": task.id, "data": {"image": task.image}, "predictions": api.predictions(task.id)}
        (record,) = tasks_to_records([source], config)
        if record.left_out:
            reasons = "; ".join(f"{item.reason} ({item.where})" for item in record.left_out)
            raise CheckError(f"Task {task.id} ({task.file_name}) has regions that cannot be read: {reasons}")
        stored.append(StoredPredictions(task, record.predictions))
    return stored


def label_map(regions: Sequence[Region], names: Sequence[str], size_hw: tuple[int, int]) -> NDArray[np.int32]:
    """Return a label map (H, W): 0 where no region is, else 1 + the index of the region's label in ``names``.

    Raises:
        CheckError: a region belongs to an image of another size, has a label that is not in ``names``, or shares
            pixels with another region although the method gives each pixel one label.
    """
    masks = [LabelledMask(_mask(region, size_hw), _label(region, names)) for region in regions]
    flat = masks_to_label_map(masks, size_hw)
    if flat.contested_px:
        raise CheckError(f"{flat.contested_px} pixels have more than one label; expected at most one each.")
    return flat.label_map


def segments_of(regions: Sequence[Region], names: Sequence[str], size_hw: tuple[int, int]) -> SegmentMap:
    """Return regions as segments (H, W); the category of each is 1 + the index of its label in ``names``.

    Raises:
        CheckError: a region belongs to an image of another size, has a label that is not in ``names``, or shares
            pixels with another region.
    """
    ids = np.zeros(size_hw, dtype=np.int32)
    for number, region in enumerate(regions, start=1):
        mask = _mask(region, size_hw)
        if ids[mask].any():
            raise CheckError(f"Region {region.id} shares pixels with another one; expected one region a pixel.")
        ids[mask] = number
    return SegmentMap(ids, tuple(_label(region, names) for region in regions))


def _mask(region: Region, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    if region.size_hw != size_hw:
        raise CheckError(
            f"Region {region.id} is for an image of {region.size_hw}, but it has {size_hw} (height, width)."
        )
    return region.mask()


def _label(region: Region, names: Sequence[str]) -> int:
    if len(region.labels) != 1 or region.labels[0] not in names:
        raise CheckError(f"Region {region.id} has the labels {region.labels}; expected one of {names}.")
    return names.index(region.labels[0]) + 1
