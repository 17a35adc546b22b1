"""A task as the service sees it, for a person who looks at it: its image, and its segmentation before any limits.

Label Studio is asked for the task with this service's own token, and for the image as for a prediction. Nothing is
stored there. One task is looked at at a time, and few people wait for their turn, so that looking costs the service
little, however many look.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.errors import BusyError, NothingThereError, RequestError
from backend.serving.predicting.places import Places
from backend.serving.predicting.predictions import Snapshot, reference
from backend.serving.predicting.recent import ImageAddress, RecentSegmentations
from backend.serving.projects import Projects, id_of
from backend.serving.vocabulary import Labelling, Output
from backend.sources.few_tasks import BareTask, FewTasks, one_task, tasks_after
from backend.sources.images import ImageSource
from backend.sources.label_studio import LabelStudioClient
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary

WITHIN_S = 30.0
"""For the turn, the task and its image together; a person who waits longer has gone. What the models take comes on
top, for they cannot be broken off."""
ASK_WITHIN_S = 8.0
"""For Label Studio's answer about tasks."""
MOST_PEOPLE = 4
"""Who looks and who waits for it, together; each holds a thread of the server (OVDIFF_THREADS)."""


@dataclass(frozen=True)
class KnownProject:
    """A project that is connected.

    Attributes:
        number: its number in Label Studio.
        uid: its name in /setup.
        labelling: the content of the label config in force; None if no usable one was seen.
    """

    number: int
    uid: str
    labelling: Labelling | None

    @property
    def usable(self) -> Labelling:
        """The content of the label config in force.

        Raises:
            RequestError: no usable label config was seen.
        """
        if self.labelling is None:
            raise RequestError(f"No label config of project {self.number} could be used so far; the overview says why.")
        return self.labelling


@dataclass(frozen=True)
class Sight:
    """An image of a task, with what the service sees in it.

    Attributes:
        project: the project.
        task: the task.
        images: the names of all images of the task that have labels.
        image: the name of this one.
        outputs: label id `i + 1` is `outputs[i].category`.
        snapshot: the state of the service from which this follows, `version` and what is missing included.
        pixels: (H, W, 3) uint8 RGB, upright.
        segmentation: before the limits of labels.
    """

    project: KnownProject
    task: BareTask
    images: tuple[str, ...]
    image: str
    outputs: tuple[Output, ...]
    snapshot: Snapshot
    pixels: NDArray[np.uint8]
    segmentation: Segmentation

    @property
    def vocabulary(self) -> Vocabulary:
        """The categories that were looked for, in the order of the label ids."""
        return Vocabulary([output.category for output in self.outputs])


class Looking:
    """Shows tasks. Threads may share it."""

    def __init__(
        self,
        projects: Projects,
        label_studio: LabelStudioClient,
        images: ImageSource,
        recent: RecentSegmentations,
        *,
        snapshot: Callable[[Labelling, float], Snapshot],
        clock_s: Callable[[], float],
        within_s: float = WITHIN_S,
    ) -> None:
        """Put the parts together.

        Args:
            projects: the projects that are connected.
            label_studio: where tasks are asked for.
            images: fetches images.
            recent: fetches and segments images.
            snapshot: gives the state of the service for a label config, at a moment of the clock.
            clock_s: the clock of all of them.
            within_s: see `WITHIN_S`.
        """
        self._projects, self._label_studio, self._images, self._recent = projects, label_studio, images, recent
        self._snapshot, self._clock_s, self._within_s = snapshot, clock_s, within_s
        self._place = Places(1, clock_s)
        self._lock = threading.Lock()
        self.people = 0
        """How many look or wait for their turn."""

    def project(self, number: int) -> KnownProject:
        """Return the connected project of a number; of several, which had the number in turn, the last one.

        Raises:
            NothingThereError: no project of this number is connected.
        """
        found = [(uid, state) for uid, state in self._projects.states().items() if id_of(uid) == number]
        if not found:
            raise NothingThereError(
                f"Project {number} is not known here. Connect it in Label Studio, Settings > Model, or look at the "
                "overview, which names the projects that are."
            )
        uid, state = found[-1]
        return KnownProject(number, uid, state.labelling)

    def tasks(self, project: KnownProject, after: int, count: int) -> FewTasks:
        """Return a few tasks of a project, those behind an id, from Label Studio.

        Raises:
            LabelStudioAPIError: Label Studio refused or did not answer.
        """
        return tasks_after(self._label_studio, project.number, after, count, within_s=ASK_WITHIN_S)

    @contextmanager
    def pixels(self, project: KnownProject, task: BareTask) -> Iterator[tuple[NDArray[np.uint8], Vocabulary]]:
        """Fetch the first image of a task that has labels, and yield its pixels (H, W, 3) with the labels' vocabulary.

        Nothing is segmented. Do what needs the pixels in the block, and open no second image there.

        Raises:
            RequestError: not every label is ready, or the task has no address of an image.
            ImageSourceError: the image cannot be fetched or read.
        """
        snapshot = self._snapshot(project.usable, self._clock_s())
        if snapshot.pending or not snapshot.ready:
            raise RequestError(f"Not every label of project {project.number} is ready: {snapshot.missing}.")
        tag, outputs = next(each for each in snapshot.labelling.by_image(snapshot.ready).items() if each[1])
        address = reference({"data": task.data}, tag)
        with self._images.opened(address, task_id=task.id, within_s=self._within_s) as pixels:
            yield pixels, Vocabulary([output.category for output in outputs])

    @contextmanager
    def opened(self, number: int, task: int, image: str = "") -> Iterator[Sight]:
        """Look at an image of a task; do what needs the pixels in the block, for the turn ends with it.

        Args:
            number: the project's number.
            task: the task's id.
            image: the name of the `<Image>`; "" for the first one that has labels.

        Raises:
            NothingThereError: the project is not connected, or has no such image.
            RequestError: nothing can be looked for, or the task has no address of an image.
            BusyError: other people look, and no turn came.
            LabelStudioAPIError: Label Studio refused or did not answer.
            ImageSourceError, OVDiffError: the image cannot be fetched, read or segmented.
        """
        asked_s = self._clock_s()
        until_s = asked_s + self._within_s
        project = self.project(number)
        labelling = project.usable
        with self._turn(until_s):
            found = one_task(self._label_studio, number, task, within_s=ASK_WITHIN_S)
            snapshot = self._snapshot(labelling, asked_s)
            by_image = snapshot.labelling.by_image(snapshot.ready)
            outputs = {tag: own for tag, own in by_image.items() if own}
            if not outputs:
                raise RequestError(f"No label of project {number} is ready yet: {snapshot.missing}.")
            tag = next((tag for tag in outputs if image in ("", tag.name)), None)
            if tag is None:
                raise NothingThereError(f"No image {image[:60]!r} of project {number} has labels.")
            address = ImageAddress(reference({"data": found.data}, tag), task)
            with self._recent.opened(address, _prepared(outputs[tag], snapshot), until_s=until_s) as (pixels, seen):
                names = tuple(each.name for each in outputs)
                yield Sight(project, found, names, tag.name, outputs[tag], snapshot, pixels, seen)

    @contextmanager
    def _turn(self, until_s: float) -> Iterator[None]:
        busy = "Other pages are being made of tasks, one at a time. Load this one again in a moment."
        with self._lock:
            if self.people >= MOST_PEOPLE:
                raise BusyError(busy)
            self.people += 1
        try:
            with self._place.place(until_s) as has_place:
                if not has_place:
                    raise BusyError(busy)
                yield
        finally:
            with self._lock:
                self.people -= 1


def _prepared(outputs: Sequence[Output], snapshot: Snapshot) -> dict[Category, str]:
    return {output.category: snapshot.ready[output.category] for output in outputs}
