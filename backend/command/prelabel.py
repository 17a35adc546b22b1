"""`ovdiff prelabel`: predictions for all tasks of a project, stored in Label Studio."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from backend.command.addresses import ImagesBelow
from backend.command.complaints import Complaints
from backend.command.console import complain, progress_bar, say
from backend.command.prototypes import build_missing, say_missing_anchors
from backend.command.task_query import read_query
from backend.errors import LabelStudioAPIError, LockedError, RequestError, UsageError
from backend.serving.predicting.basis import Basis
from backend.serving.predicting.predictions import Predictor, Snapshot
from backend.serving.predicting.together import Gathering
from backend.serving.prelabelling.ahead import FetchedAhead
from backend.serving.prelabelling.outcome import Outcome
from backend.serving.prelabelling.patience import Patience
from backend.serving.prelabelling.plans import Choice
from backend.serving.prelabelling.run import Listener, Orders, Run, Work, lock_project
from backend.serving.preparing.standing import Standing
from backend.serving.vocabulary import read_labelling
from backend.settings import ImageSettings, Settings
from backend.sources.fetch import Fetcher
from backend.sources.images import FetchesImages, ImageSource
from backend.sources.label_studio import LabelStudioClient
from backend.sources.stored_predictions import StoredPredictions
from backend.sources.task_filter import ALL_TASKS
from converters.console import answer
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.segmenting import LoadsModels
from ovdiff.vocabulary import Category

if TYPE_CHECKING:
    from backend.command.on_ray import OnRay

AT_ONCE = 3  # tasks at work for each engine of a cluster: one segments, one has arrived, one becomes regions here
AGAIN = "Run the same command again: it goes on with the tasks that have no prediction."


@dataclass(frozen=True)
class Wishes:
    """What somebody wants of the command.

    Attributes:
        project: the number of the project.
        query: which of its tasks; None for all.
        choice: which of these, by the predictions and annotations that they have.
        limit: how many are predicted at most; None for all.
        dry_run: whether only is said what would be done.
        may_build: whether prototypes that are missing are made.
        images: where the images are, a folder or an address; None: where the tasks say.
        image_root: what precedes the names of images in the tasks' addresses, for `images`.
    """

    project: int
    query: str | None = None
    choice: Choice = field(default_factory=Choice)
    limit: int | None = None
    dry_run: bool = False
    may_build: bool = True
    images: Path | None = None
    image_root: str = ""


def prelabel_project(
    wishes: Wishes,
    settings: Settings,
    engine: SegmentationEngine,
    *,
    patience: Patience | None = None,
    ray: OnRay | None = None,
) -> None:
    """Predict tasks of a project and store the predictions, and print what was done, also after Ctrl-C or an error.

    Args:
        wishes: which tasks, and how.
        settings: where Label Studio is, and what shapes a prediction.
        engine: the method.
        patience: how long Label Studio is asked again (None: two minutes).
        ray: the cluster on which engines like this one segment; this process fetches images and stores predictions.

    Raises:
        UsageError: the query means nothing, prototypes are missing that may not be made, or another run is at work.
        UnusableLabelConfigError: the project's label config is no vocabulary.
        RequestError: tasks have no prediction in the end, each was reported; or the project changed meanwhile.
        LabelStudioAPIError: Label Studio refused, or did not answer for long.
        OVDiffError: a model cannot be loaded.
    """
    project = ProjectAtWork.of(wishes, settings, engine, ray)
    categories = project.categories()
    only = (ALL_TASKS,) if wishes.query is None else read_query(wishes.query, project.client, wishes.project)
    with project.prepared(categories, wishes, ray):
        predicting = project.predicting(_fetcher(wishes, project.client, settings.images), ray)
        work = Work(
            stored=StoredPredictions(project.client, wishes.project),
            snapshot=project.all_ready if wishes.dry_run else project.as_it_is,
            patience=patience or Patience(),
            **vars(predicting),
        )
        delete_after_s = settings.prediction.delete_replaced_after_s
        orders = Orders(wishes.choice, only, wishes.limit, wishes.dry_run, delete_after_s)
        outcome = _run(work, orders, wishes)
    _require_whole(outcome, project)


@dataclass(frozen=True)
class Predicting:
    """What predicts the images of a run.

    Attributes:
        predictor: makes predictions, of images that come through `ahead`.
        ahead: fetches the images of the next predictions.
        load: loads the models; what fails for all images fails here.
        threads: how many predictions are at work at once.
    """

    predictor: Predictor
    ahead: FetchedAhead
    load: Callable[[], object]
    threads: int


@dataclass
class ProjectAtWork:
    """A project, and how far its categories are."""

    number: int
    uid: str
    client: LabelStudioClient
    settings: Settings
    basis: Basis
    unbuilt: dict[Category, str] = field(default_factory=dict)

    @classmethod
    def of(cls, wishes: Wishes, settings: Settings, engine: SegmentationEngine, ray: OnRay | None) -> ProjectAtWork:
        """Return the project that is asked for, as Label Studio has it; no model loads.

        Raises:
            LabelStudioAPIError: Label Studio refused, or did not answer.
        """
        client = LabelStudioClient(settings.label_studio)
        uid = client.project(wishes.project).uid
        remote = ray.for_threads(engine) if ray is not None else None
        return cls(wishes.project, uid, client, settings, Basis(settings, engine, remote=remote))

    @contextmanager
    def prepared(self, categories: Sequence[Category], wishes: Wishes, ray: OnRay | None) -> Iterator[None]:
        """Have the project alone inside the block, with prototypes of its categories; a dry run changes nothing.

        At the end of the block the engines on a cluster are stopped.

        Raises:
            UsageError: another run is at work, or prototypes are missing that may not be made.
            RequestError: none of them can be made. One that cannot is left out.
        """
        with ExitStack() as ends:
            if not wishes.dry_run:
                ends.enter_context(_locked(self.settings, self.uid))
            if self.basis.remote is not None:
                ends.callback(self.basis.remote.stop)
            if not wishes.dry_run:
                self._build(categories, wishes, ray)
            yield

    def predicting(self, fetcher: FetchesImages, ray: OnRay | None) -> Predicting:
        """Return what predicts the images that a fetcher brings, here or on a cluster; no model loads yet."""
        engine, worker, ahead = self.basis.engine, self.basis.worker, FetchedAhead(fetcher)
        gathering = Gathering(engine)
        slots = self.settings.prediction.prediction_slots
        return Predicting(
            predictor=self.basis.predictor(ImageSource(ahead), remembers=False, gathering=gathering),
            ahead=ahead,
            load=worker.load_models if isinstance(worker, LoadsModels) else tuple,
            threads=max(slots, gathering.threads) if ray is None else AT_ONCE * ray.workers(engine),
        )

    def _build(self, categories: Sequence[Category], wishes: Wishes, ray: OnRay | None) -> None:
        engine = self.basis.engine
        missing = [category for category in categories if not engine.has(category)]
        if missing and not wishes.may_build:
            names = ", ".join(category.name for category in missing)
            raise UsageError(
                f"{len(missing)} categories have no prototypes: {names}. Leave out --no-build to make them."
            )
        try:
            build_missing(categories, engine, ray=ray)
        except RequestError as error:  # the service predicts without a category that cannot be made, too
            self.unbuilt = {category: str(error) for category in categories if not engine.has(category)}
            if len(self.unbuilt) == len(categories):
                raise
            complain(f"{error} The others are looked for.")
        say_missing_anchors(engine)

    def categories(self) -> tuple[Category, ...]:
        """Return the project's categories as its label config has them now, and say what nobody reads of it."""
        labelling = read_labelling(self._label_config(), max_categories=self.settings.prediction.max_categories)
        for unread in labelling.unread:
            complain(unread.text())
        return labelling.categories

    def as_it_is(self) -> Snapshot:
        """Return the state of the project and the engine at this moment."""
        return self._snapshot(self.basis.engine.has)

    def all_ready(self) -> Snapshot:
        """Return the state that there will be when prototypes of all categories are made."""
        return self._snapshot(lambda category: True)

    def _snapshot(self, is_ready: Callable[[Category], bool]) -> Snapshot:
        labelling = read_labelling(self._label_config(), max_categories=self.settings.prediction.max_categories)
        ready = {each: self.basis.engine.category_key(each) for each in labelling.categories if is_ready(each)}
        failed = {each: self.unbuilt.get(each, "not built") for each in labelling.categories if each not in ready}
        now_s = self.basis.clock_s()
        return self.basis.snapshot(labelling, Standing(ready, {}, failed), asked_s=now_s, until_s=math.inf)

    def _label_config(self) -> str:
        found = self.client.project(self.number)
        if found.uid != self.uid:
            raise RequestError(f"Project {self.number} is another one than before: it was deleted and made anew.")
        return found.label_config


def _fetcher(wishes: Wishes, client: LabelStudioClient, limits: ImageSettings) -> FetchesImages:
    if wishes.images is None:
        return Fetcher(client, limits)
    return ImagesBelow(wishes.images, wishes.image_root, limits)


@contextmanager
def _locked(settings: Settings, uid: str) -> Iterator[None]:
    """Let no second run work on a project with this data folder.

    Raises:
        UsageError: another one does.
    """
    try:
        lock = lock_project(settings.data_dir, uid)
    except LockedError as error:
        raise UsageError(
            f"Another run ({error}) predicts this project already. Wait until it ends, or end it: this command then "
            "goes on where it was."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _run(work: Work, orders: Orders, wishes: Wishes) -> Outcome:
    """Run, with progress; what was done is said whatever ends the run."""
    started_s = time.monotonic()
    run, ended = Run(work, orders), "by an error"
    failed = Complaints("Further tasks without a prediction are counted; --json names them.")
    try:
        with progress_bar(run.count(), "task") as bar:
            bar.set_description(f"project {wishes.project}")
            run.run(Listener(bar.update, failed=lambda task, reason: failed.add(f"task {task}: {reason}")))
        ended = ""
    except KeyboardInterrupt:
        ended = "by Ctrl-C"
        raise
    except LabelStudioAPIError as error:
        raise LabelStudioAPIError(f"{error} {AGAIN}") from error
    finally:
        _say(run.outcome, wishes, ended, time.monotonic() - started_s)
    return run.outcome


def _say(outcome: Outcome, wishes: Wishes, ended: str, seconds: float) -> None:
    head = {"project": wishes.project, "dry_run": wishes.dry_run, "interrupted": ended, "seconds": round(seconds, 1)}
    answer({**head, **outcome.to_json()})
    say(f"project {wishes.project}, model version {outcome.version}")
    would = "would be " if wishes.dry_run else ""
    say(f"looked at: {outcome.looked_at} of {outcome.in_all} tasks{f', then ended {ended}' if ended else ''}")
    if wishes.dry_run:
        new, changed = outcome.plans["missing"], outcome.plans["outdated"]
        say(f"would be predicted: {outcome.lacking} ({new} without a prediction of ovdiff, {changed} with an old one)")
    else:
        say(f"predicted and stored: {outcome.predicted}, in {seconds:.0f} s")
    say(f"old predictions of ovdiff that {would or 'were '}deleted: {outcome.removed}")
    for text, count in _rest(outcome):
        if count:
            say(f"{text}: {count}")
    if ended:
        say(AGAIN)


def _rest(outcome: Outcome) -> tuple[tuple[str, int], ...]:
    return (
        ("up to date", outcome.plans["up to date"]),
        ("left, never predicted (--changed-only)", outcome.plans["never predicted"]),
        ("left, annotated (--unannotated)", outcome.plans["annotated"]),
        ("old predictions of ovdiff that a later run deletes, when nobody has them open any more", outcome.waiting),
        ("stored by somebody else meanwhile", outcome.stored_meanwhile),
        ("old predictions of ovdiff that stay, because an annotation began with them", outcome.kept),
        ("without a prediction", outcome.failures),
    )


def _require_whole(outcome: Outcome, project: ProjectAtWork) -> None:
    """Raise what is to be told of a run that ended and did not do everything.

    Raises:
        RequestError: tasks have no prediction, categories were left out, or the project changed.
    """
    if outcome.changed:
        raise RequestError(outcome.changed)
    if outcome.failures:
        raise RequestError(
            f"{outcome.failures} of {outcome.looked_at} tasks have no prediction; they are named above. {AGAIN}"
        )
    if project.unbuilt:
        names = ", ".join(category.name for category in project.unbuilt)
        raise RequestError(f"The predictions leave out categories that could not be made: {names}.")
