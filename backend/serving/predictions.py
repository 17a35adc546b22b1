"""From tasks to the items that Label Studio stores: fetch the image, segment it, write the regions.

An error with one task becomes the item of this task, and the other tasks still get their predictions. So there is
always one item for each task: Label Studio discards an answer with more or fewer items. An item is one of

    {"result": [...], "score": 0.8, "model_version": V}                     a prediction, perhaps with "warning"
    {"result": [], "score": 0.0, "model_version": V, "error": "..."}          no category was ready, or the category of
                                                                            a click was not ready
    {"result": [], "score": 0.0, "model_version": "V.failed", "error": "..."}   something went wrong
    {"model_version": V, "error": "..."}                                    no time was left

The first item stays valid as long as /setup answers V. With the second item, V changes once another category is ready,
and Label Studio asks for the task again. It also asks again after the third item, which the editor shows as an empty
prediction of the version "V.failed", and after the fourth item, which is not stored.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backend.errors import ImageSourceError, RequestError
from backend.serving.interactive import Prompt, prompt_to_mask, read_prompt
from backend.serving.model_version import failed_version
from backend.serving.regions import mask_to_regions, segmentation_to_regions
from backend.serving.vocabulary import Labelling, Output
from backend.settings import OutputSettings
from backend.sources.images import ImageSource
from converters.label_studio.label_config import ImageTag
from ovdiff.engines import SegmentationEngine
from ovdiff.errors import OVDiffError
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary

logger = logging.getLogger(__name__)

Item = dict[str, Any]
Task = Mapping[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """The state of the service that one request is answered from; it is the same for all tasks of the request.

    Attributes:
        labelling: what the label config asks for.
        ready: the categories that have prototypes, each with the key of its prototypes.
        waiting: the categories without prototypes, each with its status as a phrase, such as "queued".
        version: the model version that follows from `labelling` and `ready`.
        deadline_s: the moment, on the predictor's clock, after which no further task is begun.
    """

    labelling: Labelling
    ready: Mapping[Category, str]
    waiting: Mapping[Category, str]
    version: str
    deadline_s: float

    @property
    def missing(self) -> str:
        """The categories that are not ready, as text; categories of the same status are listed together."""
        alike: dict[str, list[str]] = {}
        for category, standing in self.waiting.items():
            alike.setdefault(standing, []).append(category.name)
        return "; ".join(f"{', '.join(names)} ({standing})" for standing, names in alike.items())


@dataclass(frozen=True)
class Predictor:
    """Makes the items of tasks. `clock_s` is the clock of the deadline. Threads may share a predictor."""

    engine: SegmentationEngine
    images: ImageSource
    output: OutputSettings
    clock_s: Callable[[], float] = time.monotonic

    def predict(self, task: Task, snapshot: Snapshot) -> Item:
        """Return the item of one task, with all regions of its images; never raises."""
        return _guarded(task, snapshot, lambda: self._predict(task, snapshot))

    def answer(self, task: Task, context: Mapping[str, Any], snapshot: Snapshot) -> Item:
        """Return an item with the mask that a click or a rectangle asks for; never raises."""
        return _guarded(task, snapshot, lambda: self._answer(task, read_prompt(context), snapshot))

    def _predict(self, task: Task, snapshot: Snapshot) -> Item:
        if not snapshot.ready:
            return _item([], 0.0, snapshot.version) | {"error": f"No category is ready yet: {snapshot.missing}."}
        if self.clock_s() > snapshot.deadline_s:
            return {"model_version": snapshot.version, "error": "No time was left in this request; ask again."}
        regions: list[Any] = []
        scores: list[float] = []
        warnings = [f"not ready, so not looked for: {snapshot.missing}"] if snapshot.missing else []
        for image, outputs in snapshot.labelling.by_image(snapshot.ready).items():
            if not outputs:
                continue
            segmentation = self._segment(task, image, outputs)
            found = segmentation_to_regions(segmentation, outputs, self.output, task_id=_task_id(task))
            regions += found.regions
            scores.append(segmentation.image_score())
            warnings += [found.omitted] if found.omitted else []
        item = _item(regions, sum(scores) / len(scores), snapshot.version)
        return item | {"warning": "; ".join(warnings)} if warnings else item

    def _answer(self, task: Task, prompt: Prompt | None, snapshot: Snapshot) -> Item:
        nothing = _item([], 0.0, snapshot.version)
        if prompt is None:
            return nothing
        for category, standing in snapshot.waiting.items():
            if category.name == prompt.label:
                reason = f"{prompt.label!r} is not ready ({standing})."
                logger.info("Task %r: asked for a mask, but %s", _task_id(task), reason)
                return nothing | {"error": reason}
        for image, outputs in snapshot.labelling.by_image(snapshot.ready).items():
            chosen = next((output for output in outputs if output.label == prompt.label), None)
            if image.name != prompt.image or chosen is None:
                continue
            segmentation = self._segment(task, image, outputs)
            mask = prompt_to_mask(prompt, segmentation, [output.label for output in outputs])
            if mask.any():
                score = float(np.clip(segmentation.scores[mask], 0.0, 1.0).mean())
                key = f"{_task_id(task)} {prompt}"  # another click makes another region
                regions = mask_to_regions(mask, chosen, self.output, score=score, key=key)
                return _item(regions, score, snapshot.version)
        return nothing

    def _segment(self, task: Task, image: ImageTag, outputs: Sequence[Output]) -> Segmentation:
        """Return the segmentation of one image of a task; its label id `i + 1` is `outputs[i].category`."""
        pixels = self.images.load(_reference(task, image), task_id=_task_id(task))
        categories = tuple(output.category for output in outputs)
        return self.engine.segment(pixels, Vocabulary(categories))


def failed_item(version: str, reason: str) -> Item:
    """Return the item of a task that could not be predicted."""
    return _item([], 0.0, failed_version(version)) | {"error": reason}


def _guarded(task: Task, snapshot: Snapshot, answer: Callable[[], Item]) -> Item:
    """Return the item that `answer` makes, or an item with the error that it raised."""
    try:
        return answer()
    except (ImageSourceError, OVDiffError, RequestError) as error:
        reason = str(error)
    except Exception as error:
        logger.exception("Task %r failed unexpectedly.", _task_id(task))
        reason = f"Unexpected {type(error).__name__}; the service's log has the details."
    logger.error("Task %r: %s", _task_id(task), reason)
    return failed_item(snapshot.version, reason)


def _item(regions: Sequence[Any], score: float, version: str) -> Item:
    return {"result": list(regions), "score": round(min(1.0, max(0.0, score)), 4), "model_version": version}


def _task_id(task: Task) -> int | None:
    number = task.get("id")
    return number if isinstance(number, int) else None


def _reference(task: Task, image: ImageTag) -> str:
    """Return the address that the task's data holds for an image."""
    data = task.get("data")
    if not isinstance(data, Mapping):
        raise RequestError("The task has no data.")
    value = data.get(image.data_key)
    if not isinstance(value, str) or not value:
        found = "a list of images" if isinstance(value, list) else f"{value!r:.80}"
        raise RequestError(
            f"The task's data has {found} for {image.data_key!r}, expected the address of an image, as "
            f"<Image name={image.name!r}> of the label config says. Its keys: {list(data)}."
        )
    return value
