"""What the teacher asks Label Studio: which projects learn, as they are now, their tasks, and where annotations are.

Tested by tests/backend/serving/teaching/test_teacher.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any

from backend.errors import NoSuchProjectError, UnusableLabelConfigError
from backend.serving.prelabelling.background import Office
from backend.serving.prelabelling.patience import Patience
from backend.serving.projects import id_of
from backend.serving.teaching.annotated import Scope
from backend.serving.teaching.notes import Notes, ToRead
from backend.serving.teaching.taking import Taking, kinds_of, vocabularies_of
from backend.serving.teaching.tasks import LearningProject
from backend.serving.vocabulary import Labelling, read_labelling
from backend.settings import Settings
from backend.sources.annotations import place_of
from backend.sources.images import ImageSource
from backend.sources.label_studio import TOKEN_ADVICE, LabelStudioClient
from backend.sources.task_pages import TaskPage, Wanted, read_task_pages
from converters.label_studio.label_config import parse_label_config
from converters.label_studio.own_attributes import skipped_labels
from converters.records import ImageRecord
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.learning import Learns

MOST_TOLD = 5  # categories that are waited for, in /status


class NotYetError(Exception):
    """A project's annotations cannot be learned from now.

    Attributes:
        uid: the project; the message says what is waited for.
    """

    def __init__(self, uid: str, reason: str) -> None:
        """Keep the project."""
        super().__init__(reason)
        self.uid = uid


class LearningProjects:
    """The projects whose annotations teach. Threads may share it."""

    def __init__(
        self,
        settings: Settings,
        engine: SegmentationEngine,
        office: Office,
        label_studio: LabelStudioClient,
        images: ImageSource,
        patience: Patience,
    ) -> None:
        """Ask nothing yet.

        Args:
            settings: all settings.
            engine: the method; if it does not learn, no project does.
            office: what is seen of the service.
            label_studio: where annotations are.
            images: where images of tasks come from.
            patience: asks Label Studio again while it does not answer.
        """
        self._settings, self._engine, self._office = settings, engine, office
        self._label_studio, self._images, self._patience = label_studio, images, patience

    @property
    def obstacle(self) -> str:
        """Why no annotation can ever become a lesson here, and what to do; "" if it can."""
        preset = self._engine.preset
        if not isinstance(self._engine, Learns):
            return (
                f"The engine {preset.engine!r} of the preset {preset.name!r} takes no lessons from annotations; events "
                "are recorded. Take a preset of the engine ovdiff, such as tinyworld or fast, or train a head of ODISE "
                "on an export: ovdiff odise train."
            )
        if not self._label_studio.has_token:
            return f"Annotations cannot be read: LABEL_STUDIO_API_KEY is not set. {TOKEN_ADVICE}"
        return ""

    def learning(self) -> dict[str, Labelling]:
        """Return the projects that are known here and whose annotations teach."""
        return {uid: labelling for uid, labelling in self._office.labellings().items() if self._learns(labelling)}

    def _learns(self, labelling: Labelling) -> bool:
        return self._settings.prediction.learn if labelling.learns is None else labelling.learns

    def places(self, row: ToRead, notes: Notes, lessons: LessonPlaces) -> Iterable[tuple[int, int]]:
        """Return the project and the task of what is to be read, as Label Studio says, or as it was when it was read.

        An annotation that is gone may have been read by `ovdiff learn` alone: then its lesson says where it was.

        Raises:
            LabelStudioAPIError: Label Studio refused or did not answer.
        """
        if row.kind == "annotation":
            place = self._patience.ask(lambda: place_of(self._label_studio, row.number))
            if place is not None:
                return [(place.project, place.task)]
        known = {(id_of(uid), task) for uid, task in notes.places(row.kind, row.number)}
        if row.kind == "annotation":
            known |= lessons.of(row.number)
        return [(number, task) for number, task in known if number is not None]

    def project(self, number: int) -> LearningProject | None:
        """Return a project as Label Studio has it now; None if it is not known here, is another one, or does not learn.

        Raises:
            NotYetError: some of its categories are not ready, or its label config cannot be used.
            LabelStudioAPIError: Label Studio refused or did not answer.
        """
        uids = [uid for uid in self.learning() if id_of(uid) == number]
        if not uids or not isinstance(self._engine, Learns):
            return None
        try:
            found = self._patience.ask(lambda: self._label_studio.project(number))
        except NoSuchProjectError:
            return None
        for uid in uids:
            if uid in (found.uid, str(number)):  # label-studio-ml shortens a uid to the id
                return self._ready(uid, number, found.label_config, self._engine)
        return None

    def waiting(self) -> dict[str, str]:
        """Return the projects that cannot be learned from now, each with what it waits for; ask only this service."""
        found = {uid: self._lacking(labelling) for uid, labelling in self.learning().items()}
        return {uid: lacking for uid, lacking in found.items() if lacking}

    def _lacking(self, labelling: Labelling) -> str:
        """Return which prototypes are not ready; "" if all are."""
        standing = self._office.standing(labelling.categories)
        lacking = {**standing.pending, **standing.failed}
        told = "; ".join(f"{category.name} ({how})" for category, how in list(lacking.items())[:MOST_TOLD])
        return f"the prototypes of {told}" if lacking else ""

    def _ready(self, uid: str, number: int, label_config: str, engine: Learns) -> LearningProject | None:
        most = self._settings.prediction.max_categories
        try:
            labelling = read_labelling(label_config, max_categories=most)
        except UnusableLabelConfigError as error:
            raise NotYetError(uid, str(error)) from error
        if not self._learns(labelling):
            return None
        if lacking := self._lacking(labelling):
            raise NotYetError(uid, lacking)
        config = parse_label_config(label_config)
        scope = Scope(kinds_of(config), skipped=skipped_labels(config))
        return LearningProject(uid, number, config, Taking(engine, vocabularies_of(labelling), self._image, scope))

    def _image(self, record: ImageRecord) -> Any:
        task = record.task_id if isinstance(record.task_id, int) else None
        with self._images.opened(record.image, task_id=task) as image:
            return image

    def page(self, project: int, wanted: Wanted) -> TaskPage | None:
        """Return the next tasks of a project; None if there are no more.

        Raises:
            LabelStudioAPIError: Label Studio refused or did not answer.
        """
        first = partial(read_task_pages, self._label_studio, project, wanted)
        return self._patience.ask(lambda: next(first(), None))


class LessonPlaces:
    """The project and the task of each lesson, by its annotation; the lessons are looked through once, if at all."""

    def __init__(self, engine: SegmentationEngine) -> None:
        """Look at no lesson yet."""
        self._engine = engine
        self._found: dict[str, set[tuple[int, int]]] | None = None

    def of(self, annotation: int) -> set[tuple[int, int]]:
        """Return the places of the lessons of an annotation."""
        if self._found is None:
            self._found = defaultdict(set)
            cards = self._engine.lessons.cards() if isinstance(self._engine, Learns) else ()
            for source in (card.source for card in cards):
                if _is_id(source.project) and _is_id(source.task):
                    self._found[source.annotation].add((int(source.project), int(source.task)))
        return self._found.get(str(annotation), set())


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19
