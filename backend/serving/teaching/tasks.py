"""The lessons of a task become what the task's annotations say now: taken, replaced or removed.

Of several annotations of an image the one counts that `ovdiff learn` takes, too: ground truth, else the one that was
changed last. An annotation that was refused is not tried again until it changes, or somebody asks for all of them.

Tested by tests/backend/serving/teaching/test_teacher.py.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backend.errors import ImageFetchError, ImageWaitError
from backend.serving.teaching.notes import Notes, Taught
from backend.serving.teaching.taking import REFUSALS, Taking, why_without_image
from converters.label_studio.label_config import LabelConfig
from converters.label_studio.reader import Wanted, tasks_to_records
from converters.records import Annotation, ImageRecord
from ovdiff.errors import LessonError

logger = logging.getLogger(__name__)

PASSING = (ImageFetchError, ImageWaitError)
"""Why an image could not be had that may be there the next time."""

_PREFERRED = Wanted(annotations="preferred", predictions="none")


@dataclass(frozen=True)
class LearningProject:
    """A project whose annotations teach, as Label Studio has it at this moment.

    Attributes:
        uid: its name in /setup.
        number: its number in Label Studio.
        config: its label config.
        taking: takes lessons with that label config.
    """

    uid: str
    number: int
    config: LabelConfig
    taking: Taking


class PassingError(Exception):
    """The image of a task could not be had now.

    Attributes:
        record: the image, whose annotation is to be looked at again.
        made: the annotation.
    """

    def __init__(self, record: ImageRecord, made: Annotation, reason: str) -> None:
        """Keep what is to be looked at again."""
        super().__init__(reason)
        self.record, self.made = record, made


def teach_task(project: LearningProject, task: Mapping[str, Any], notes: Notes, *, anew: bool) -> None:
    """Take the lessons of a task, and remove those that nobody's annotation says any more.

    Args:
        project: the task's project.
        task: the task with its annotations, as the API gives it.
        notes: what is known of earlier looks.
        anew: whether an annotation is also looked at that has not changed since the last look.

    Raises:
        PassingError: an image could not be had now; the other images of the task were looked at.
        OVDiffError: no annotation gives a lesson, such as because prototypes are missing, or the disk is full.
    """
    passing: PassingError | None = None
    for record in tasks_to_records([task], project.config, wanted=_PREFERRED):
        made = record.preferred_annotation()
        if made is None:
            _forget(project, int(task["id"]), record.image, notes)
        elif not record.image or record.image_tag in project.taking.vocabularies:
            try:
                _teach_image(project, record, made, notes, anew=anew)
            except PassingError as error:
                passing = error
    if passing is not None:
        raise passing
    notes.look(project.uid, int(task["id"]), changed_at(task) if task.get("total_annotations", 1) else None)


def changed_at(task: Mapping[str, Any]) -> str:
    """Return what tells whether a task's annotations changed: its last change, and how many annotations it has."""
    return f"{task.get('updated_at', '')} {task.get('total_annotations', '')}"


def forget_task(project: LearningProject, task: int, notes: Notes) -> None:
    """Remove the lessons of a task that Label Studio does not have any more, if it was looked at when it was there.

    Lessons of other tasks of that number, such as those of an export of another Label Studio, are left alone.
    """
    if task in notes.tasks(project.uid, after=task - 1):
        _forget(project, task, None, notes)
    notes.look(project.uid, task, None)


def refuse(project: LearningProject, record: ImageRecord, made: Annotation, reason: str, notes: Notes) -> None:
    """Note that an annotation gives no lesson."""
    logger.info("Project %s, task %s, annotation %s: %s", project.uid, record.task_id, made.id, reason)
    taught = Taught(_number(made.id), made.updated_at, reason)
    notes.note(project.uid, _number(record.task_id), record.image, taught)


def _teach_image(project: LearningProject, record: ImageRecord, made: Annotation, notes: Notes, *, anew: bool) -> None:
    task, seen = _number(record.task_id), Taught(_number(made.id), made.updated_at)
    before = notes.taught(project.uid, task, record.image)
    if before is not None and not anew and (before.annotation, before.changed_at) == (seen.annotation, seen.changed_at):
        return
    if not record.image:
        refuse(project, record, made, why_without_image(record), notes)
        return
    try:
        taken = project.taking.take(record, made)
    except PASSING as error:
        raise PassingError(record, made, str(error)) from error
    except REFUSALS as error:
        if isinstance(error, LessonError):
            if isinstance(error.__cause__, OSError):  # the lesson cannot be stored, and none could be
                raise
            _remove_lessons(project, task, record.image)  # nobody says any more what the older annotation said
        refuse(project, record, made, str(error), notes)
        return
    notes.note(project.uid, task, record.image, seen)
    if taken.is_new:
        logger.info("Project %s, task %s: a lesson was taken from annotation %s.", project.uid, task, made.id)


def _forget(project: LearningProject, task: int, image: str | None, notes: Notes) -> None:
    _remove_lessons(project, task, image)
    notes.drop(project.uid, task, image)


def _remove_lessons(project: LearningProject, task: int, image: str | None) -> None:
    """Remove the lessons of a task, or of one of its images, whatever preset took them."""
    store = project.taking.engine.lessons
    for card in store.cards():
        source = card.source
        if (source.project, source.task) == (str(project.number), str(task)) and image in (None, source.image):
            store.remove(card.address)
            logger.info("Project %s, task %s: its lesson is removed; its annotation is gone.", project.uid, task)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
