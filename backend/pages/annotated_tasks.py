"""What people marked in a task, for a label: the image and the mask of all regions of the label, from Label Studio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.errors import RequestError
from backend.serving.projects import id_of
from backend.serving.service import Service
from backend.sources.few_tasks import one_task
from backend.sources.task_filter import with_ids
from backend.sources.task_pages import Wanted, read_task_pages
from converters.files.image_files import image_file_name
from converters.label_studio import reader
from converters.label_studio.label_config import parse_label_config

WITHIN_S = 30.0
"""For the image; it is fetched outside a request, but others wait for the same thread."""


@dataclass(frozen=True)
class MarkedImage:
    """An image with what people marked in it.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, upright.
        mask: (H, W) bool, all regions of the label.
        name: the name of the image's file.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    name: str


def marked_image(service: Service, project: str, task: int, label: str) -> MarkedImage:
    """Return the image of a task, with what people marked as a label there.

    Of several annotations the one counts that is ground truth, else the newest.

    Raises:
        RequestError: nobody marked the label there, or the project has no number.
        LabelStudioAPIError: there is no such task, or Label Studio refused or did not answer.
        ImageSourceError: the image may not or cannot be fetched, or is no picture.
        ConverterError: the project's label config cannot be read.
    """
    number = id_of(project)
    if number is None:
        raise RequestError(f"The project {project!r} has no number, so Label Studio cannot be asked for a task.")
    one_task(service.label_studio, number, task)  # says which task is missing, and what a task's number is
    config = parse_label_config(service.label_studio.project(number).label_config)
    wanted = Wanted(with_ids([task]), after=task - 1)
    tasks = next((page.tasks[:1] for page in read_task_pages(service.label_studio, number, wanted)), ())
    records = list(reader.tasks_to_records(tasks, config, wanted=reader.Wanted("preferred", "none")))
    for record in records:
        if (regions := record.preferred_regions(label)) and record.image:
            mask = np.any([region.mask() for region in regions], axis=0)
            with service.images.opened(record.image, task_id=task, within_s=WITHIN_S) as pixels:
                return MarkedImage(pixels.copy(), mask, image_file_name(record.image))
    made = [found for record in records if (found := record.preferred_annotation())]
    labels = sorted({name for annotation in made for region in annotation.regions for name in region.labels})
    there = f"its labels are {', '.join(labels)}" if labels else "nobody marked a region there"
    raise RequestError(f"Task {task} of project {number} has no region of {label!r}; {there}. Name another task.")
