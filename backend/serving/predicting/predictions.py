"""From a task to the item that Label Studio stores: fetch the image, segment it, write the regions.

Label Studio discards an answer with more or fewer items than tasks, so every task has exactly one item, whatever
happens to it. It stores an item with a `result`, and leaves out an item without one: the other items of the answer are
stored all the same, and it asks for the task again. So only a final prediction has a `result`:

    {"result": [...], "score": 0.8, "model_version": V}     a prediction, perhaps with "warning" and "hidden"
    {"model_version": V, "error": "..."}                    no prediction; the error says why

"hidden" says which regions were left out because of their label's limits, and why. Label Studio stores it nowhere, but
shows the whole item to a person who sends a test request from the project's settings.

An item that answers a click or a rectangle is shown and never stored. It always has a `result`:

    {"result": [...], "score": 0.8, "model_version": V}     the mask
    {"result": [], "model_version": V}                      no mask and so no score, perhaps with "error"
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from backend.errors import ImageSourceError, RequestError
from backend.serving.predicting.interactive import Prompt, prompt_to_mask, read_prompt
from backend.serving.predicting.limits import shown_score
from backend.serving.predicting.recent import ImageAddress, RecentSegmentations
from backend.serving.predicting.regions import mask_to_regions, segmentation_to_regions
from backend.serving.predicting.stored import PredictionStore
from backend.serving.vocabulary import Labelling, Output
from backend.settings import OutputSettings
from converters.label_studio.label_config import ImageTag
from ovdiff.errors import ClusterError, ImageError, OVDiffError, StorageError, WeightsError
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category

logger = logging.getLogger(__name__)

Found = TypeVar("Found")
Item = dict[str, Any]
Task = Mapping[str, Any]


Kind = Literal["answered", "not ready", "failed", "no time", "given to another request"]
"""What became of a task: a final answer, or the reason why there is none."""


Reach = Literal["task", "perhaps all", "all"]
"""Which tasks an error concerns: one; all, such as lost weights; or one that may have to do with the task."""


@dataclass(frozen=True)
class Answer:
    """The item of one task, and what became of the task.

    Attributes:
        item: what Label Studio gets.
        kind: what became of the task.
        error: the kind of error that made the task fail, such as "ImageFetchError", which is counted; "" without one.
        reach: which tasks that error concerns.
    """

    item: Item
    kind: Kind
    error: str = field(default="", compare=False)
    reach: Reach = field(default="task", compare=False)


@dataclass(frozen=True)
class Snapshot:
    """The state of the service that one request is answered from; it is the same for all tasks of the request.

    Attributes:
        labelling: what the label config asks for.
        ready: the categories that have prototypes, each with the key of its prototypes.
        pending: the categories whose prototypes are still to be made, each with its status, such as "queued".
        failed: the categories whose prototypes could not be made, each with its status.
        version: the model version that follows from `labelling` and `ready`.
        asked_s: the moment at which the request came. Whole predictions are made of images that were fetched since.
        until_s: the moment at which the answer must be ready.
    """

    labelling: Labelling
    ready: Mapping[Category, str]
    pending: Mapping[Category, str]
    failed: Mapping[Category, str]
    version: str
    asked_s: float
    until_s: float

    @property
    def missing(self) -> str:
        """The categories without prototypes, as text; categories of the same status are listed together."""
        alike: dict[str, list[str]] = {}
        for category, standing in (*self.pending.items(), *self.failed.items()):
            alike.setdefault(standing, []).append(category.name)
        return "; ".join(f"{', '.join(names)} ({standing})" for standing, names in alike.items())


@dataclass(frozen=True)
class Predictor:
    """Makes the items of tasks. Threads may share a predictor.

    A category that failed does not hold up the predictions: the others are looked for, and the item's warning names it.
    A category that is still to be made does, unless `partial` is set.
    """

    segmentations: RecentSegmentations
    output: OutputSettings
    partial: bool = False
    store: PredictionStore | None = None

    def stored(self, task: Task, snapshot: Snapshot) -> Answer | None:
        """Return the item that was made of the same task before; None if there is none that still holds. Never raises.

        Its images are fetched, and no model runs.
        """
        store = self.store
        if store is None or not self._may_answer(snapshot):
            return None

        def look_up() -> Answer | None:
            item = store.get(self.images(task, snapshot), snapshot.version, until_s=snapshot.until_s)
            if item is None:
                return None
            self.segmentations.tally.add(("stored prediction",))
            return Answer(item, "answered")

        return _guarded(task, look_up, lambda _reason, _error: None)  # `predict` tells the reason

    def predict(self, task: Task, snapshot: Snapshot) -> Answer:
        """Return the item of one task, with all regions of its images; never raises."""
        if not self._may_answer(snapshot):
            return unanswered(snapshot.version, "not ready", f"Not every category is ready: {snapshot.missing}.")

        def refuse(reason: str, error: Exception) -> Answer:
            failed = unanswered(snapshot.version, "failed", reason)
            return replace(failed, error=type(error).__name__, reach=_reach(error))

        return _guarded(task, lambda: Answer(self._kept(task, snapshot), "answered"), refuse)

    def answer_click(self, task: Task, context: Mapping[str, Any], snapshot: Snapshot) -> Answer:
        """Return an item with the mask that a click or a rectangle asks for; never raises."""

        def refuse(reason: str, error: Exception) -> Answer:
            return Answer(_item([], None, snapshot.version) | {"error": reason}, "failed", type(error).__name__)

        return _guarded(task, lambda: self._answer_click(task, read_prompt(context), snapshot), refuse)

    def _may_answer(self, snapshot: Snapshot) -> bool:
        return bool(snapshot.ready) and (self.partial or not snapshot.pending)

    def _kept(self, task: Task, snapshot: Snapshot) -> Item:
        """Return the item of a task, and keep it for the next time."""
        item = self._predict(task, snapshot)
        if self.store is not None:
            self.store.put(self.images(task, snapshot), snapshot.version, item, asked_s=snapshot.asked_s)
        return item

    def _predict(self, task: Task, snapshot: Snapshot) -> Item:
        regions: list[Any] = []
        scores: list[float] = []
        hidden: list[str] = []
        warnings = [f"not ready, so not looked for: {snapshot.missing}"] if snapshot.missing else []
        for image, outputs in snapshot.labelling.by_image(snapshot.ready).items():
            if not outputs:
                continue
            segmentation = self._segment(task, image, outputs, snapshot, since_s=snapshot.asked_s)
            found = segmentation_to_regions(segmentation, outputs, self.output, task_id=task_id(task))
            regions += found.regions
            scores.append(segmentation.image_score())
            warnings += [found.omitted] if found.omitted else []
            hidden += found.hidden
        item = _item(regions, sum(scores) / len(scores), snapshot.version)
        notes = {"warning": "; ".join(warnings), "hidden": "; ".join(hidden)}
        return item | {name: note for name, note in notes.items() if note}

    def _answer_click(self, task: Task, prompt: Prompt | None, snapshot: Snapshot) -> Answer:
        nothing = _item([], None, snapshot.version)
        if prompt is None:
            return Answer(nothing, "answered")
        if reason := _not_ready(prompt, snapshot):
            return Answer(nothing | {"error": reason}, "not ready")
        return Answer(self._mask_item(task, prompt, snapshot) or nothing, "answered")

    def _mask_item(self, task: Task, prompt: Prompt, snapshot: Snapshot) -> Item | None:
        """Return the item with the mask that a prompt asks for; None if there is no mask at its place."""
        for image, outputs in snapshot.labelling.by_image(snapshot.ready).items():
            chosen = next((output for output in outputs if output.label == prompt.label), None)
            if image.name != prompt.image or chosen is None:
                continue
            segmentation = self._segment(task, image, outputs, snapshot, since_s=-math.inf)
            mask = prompt_to_mask(prompt, segmentation, [output.label for output in outputs])
            if mask.any():
                # Of one label: that of the place, which the person may have overruled by a label of their own.
                score = segmentation.region_score(int(segmentation.label_map[mask][0]) - 1, mask)
                key = f"{task_id(task)} {prompt}"  # another click makes another region
                regions = mask_to_regions(mask, chosen, self.output, score=score, key=key)
                return _item(regions, score, snapshot.version)
        return None

    def images(self, task: Task, snapshot: Snapshot) -> list[ImageAddress]:
        """Return the images that a prediction of a task will need; none if the task's data do not tell them."""
        wanted = [image for image, outputs in snapshot.labelling.by_image(snapshot.ready).items() if outputs]
        try:
            return [ImageAddress(reference(task, image), task_id(task)) for image in wanted]
        except RequestError:
            return []

    def _segment(
        self, task: Task, image: ImageTag, outputs: Sequence[Output], snapshot: Snapshot, *, since_s: float
    ) -> Segmentation:
        """Return the segmentation of one image of a task; its label id `i + 1` is `outputs[i].category`."""
        address = ImageAddress(reference(task, image), task_id(task))
        prepared = {output.category: snapshot.ready[output.category] for output in outputs}
        return self.segmentations.of(address, prepared, since_s=since_s, until_s=snapshot.until_s)


def unanswered(version: str, kind: Kind, reason: str) -> Answer:
    """Return an answer of which Label Studio stores nothing, so that it asks for the task again."""
    return Answer({"model_version": version, "error": reason}, kind)


def _guarded(task: Task, answer: Callable[[], Found], refuse: Callable[[str, Exception], Found]) -> Found:
    """Return the answer that `answer` makes, or what `refuse` makes of the error that it raised and its reason."""
    try:
        return answer()
    except (ImageSourceError, OVDiffError, RequestError) as error:
        return refuse(str(error), error)
    except Exception as error:
        logger.exception("Task %r failed unexpectedly.", task_id(task))
        return refuse(f"Unexpected {type(error).__name__}; the service's log has the details.", error)


def _reach(error: Exception) -> Reach:
    if isinstance(error, ImageSourceError | ImageError | RequestError):
        return "task"
    is_away = isinstance(error, StorageError) and error.is_away
    return "all" if is_away or isinstance(error, ClusterError | WeightsError) else "perhaps all"


def _not_ready(prompt: Prompt, snapshot: Snapshot) -> str:
    """Return why the category that a prompt asks for has no prototypes; "" if it has."""
    for category, standing in (*snapshot.pending.items(), *snapshot.failed.items()):
        if category.name == prompt.label:
            return f"{prompt.label!r} is not ready ({standing})."
    return ""


def _item(regions: Sequence[Any], score: float | None, version: str) -> Item:
    scored = {} if score is None else {"score": shown_score(min(1.0, max(0.0, score)))}
    return {"result": list(regions), **scored, "model_version": version}


def task_id(task: Task) -> int | None:
    """Return the id of a task; None if it has no number for an id."""
    number = task.get("id")
    return number if isinstance(number, int) else None


def reference(task: Task, image: ImageTag) -> str:
    """Return the address that the task's data holds for an image.

    Raises:
        RequestError: it holds none.
    """
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
