"""An annotated task of a Label Studio export becomes an image with a mask: all that one label covers there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.errors import UsageError
from converters.files.image_files import find_image_file, image_file_name
from converters.label_studio.label_config import read_label_config
from converters.label_studio.reader import Wanted, read_export
from converters.records import ImageRecord, Region
from ovdiff.images import read_image


@dataclass(frozen=True)
class AnnotatedTask:
    """Where an annotated task is.

    Attributes:
        export: the export file.
        label_config: the file of the project's label config.
        task: the task's number.
        images: the folder of the images that the tasks name.
    """

    export: Path
    label_config: Path
    task: int
    images: Path


def exported_exemplar(asked: AnnotatedTask, label: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_], str]:
    """Return the image of an annotated task, the mask of all its regions of a label, and the name of the image's file.

    Of several annotations the one counts that is ground truth, else the newest.

    Args:
        asked: where the task is.
        label: the label's name, without regard to case.

    Returns:
        The image (H, W, 3) uint8 RGB, the mask (H, W) bool, and the file's name.

    Raises:
        UsageError: there is no such task, annotation, label in it, or image file; the message says what there is.
        ImageError: the image cannot be read.
        ConverterError: the export or the label config cannot be read.
    """
    config = read_label_config(asked.label_config)
    records = read_export(asked.export, config, wanted=Wanted("preferred", "none"))
    found = [record for record in records if str(record.task_id) == str(asked.task) and record.image]
    if not found:
        raise UsageError(f"{asked.export} has no task {asked.task} with an image.")
    for record in found:
        if regions := record.preferred_regions(label):
            return _picture(record, regions, asked)
    annotation = found[0].preferred_annotation()
    labels = sorted({name for region in (annotation.regions if annotation else ()) for name in region.labels})
    there = f"its labels are {', '.join(labels)}" if labels else "nobody has marked a region there"
    raise UsageError(f"Task {asked.task} of {asked.export} has no region of {label!r}; {there}. --label names another.")


def _picture(
    record: ImageRecord, regions: Sequence[Region], asked: AnnotatedTask
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], str]:
    name = image_file_name(record.image)
    path = find_image_file(asked.images, name) or find_image_file(asked.images, Path(name).name)
    if path is None:
        raise UsageError(f"{asked.images} has no file {name!r}; name the folder of the tasks' images with --images.")
    return read_image(path), np.any([region.mask() for region in regions], axis=0), path.name
