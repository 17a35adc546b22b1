"""`ovdiff prelabel --manifest`: rows of a manifest whose image is no task yet become tasks, with their predictions.

    rows ──> which are no tasks ──> predicted in threads, some ahead ──> imported twenty at a time

Tested by tests/backend/command/test_prelabel_manifest.py.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.command.complaints import Complaints
from backend.command.console import notice, say
from backend.command.manifest.images import ImagesOfRows
from backend.command.manifest.importing import AddressSet, Importing, KnownImages, NewTask
from backend.command.manifest.reading import Manifest
from backend.command.manifest.rows import BadRow, Row, RowMaker
from backend.command.prelabel import Predicting, ProjectAtWork, Wishes
from backend.errors import ImageFetchError, LabelStudioAPIError, RequestError, UsageError
from backend.serving.predicting.predictions import Answer, Snapshot
from backend.serving.prelabelling.faults import Faults
from backend.serving.prelabelling.patience import Patience
from backend.settings import ImageSettings, Settings
from backend.sources.task_import import TaskImport
from converters.console import answer
from converters.files.image_files import image_address
from converters.files.redaction import without_secrets
from converters.workers import in_order, thread_pool
from ovdiff.engines import SegmentationEngine
from ovdiff.storage.stored_path import StoredPath

if TYPE_CHECKING:
    from backend.command.on_ray import OnRay

AHEAD = 4  # rows at work or waiting for each thread
TOLD_EVERY = 100
AGAIN = "Run the same command again: it goes on with the rows whose images are no tasks."


@dataclass(frozen=True)
class Addressing:
    """What the tasks call the images of rows, and where this command finds them.

    Attributes:
        images: brings the bytes of a row's image.
        prefix: what precedes a path in the tasks; "" where it is the address of the images' folder.
    """

    images: ImagesOfRows
    prefix: str = ""

    def of(self, row: Row) -> str:
        """Return the address by which Label Studio finds a row's image.

        Raises:
            RequestError: nobody says it.
        """
        if "://" in row.image:
            return row.image
        if self.prefix:
            return image_address(row.image, self.prefix)
        if "://" in self.images.folder:
            return str(StoredPath(self.images.folder.rstrip("/")) / row.image)
        raise RequestError(
            "Label Studio reads no file of this machine; say with --image-root what precedes the path in the tasks, "
            "such as s3://bucket/photos/ or /data/local-files/?d=photos/"
        )


class _Fetching:
    """Brings the images of rows that are at work, by the numbers of the rows. Threads may share it."""

    def __init__(self, images: ImagesOfRows) -> None:
        self._images = images
        self.limits: ImageSettings = images.fetcher.limits
        self.rows: dict[int, Row] = {}

    @property
    def clock_s(self) -> Callable[[], float]:
        return time.monotonic

    def fetch(self, reference: str, *, task_id: int | None = None, within_s: float = math.inf) -> bytes:
        assert task_id is not None, "rows have numbers"
        if (row := self.rows.get(task_id)) is None:
            raise ImageFetchError("the row is not at work any more.")
        return self._images.bytes_of(row)


@dataclass
class _Counts:
    """What became of the rows."""

    rows: int = 0
    already: int = 0
    new: int = 0
    failed: Complaints = field(
        default_factory=lambda: Complaints("Further rows that are no tasks are counted; --json names them.")
    )

    def fail(self, number: int, image: str, reason: str) -> None:
        """Count a row that is no task in the end, and name the first ones."""
        self.failed.add(f"row {number}, {image}: {reason}", {"row": number, "image": image, "reason": reason})


def import_manifest(
    wishes: Wishes,
    manifest: Manifest,
    addressing: Addressing,
    settings: Settings,
    engine: SegmentationEngine,
    *,
    patience: Patience | None = None,
    ray: OnRay | None = None,
) -> None:
    """Make tasks of rows, with their predictions, and print what was done, also after Ctrl-C or an error.

    Args:
        wishes: the project, how many rows at most, and whether only is said what would be done.
        manifest: the rows.
        addressing: what the tasks call their images.
        settings: where Label Studio is, and what shapes a prediction.
        engine: the method.
        patience: how long Label Studio is asked again (None: two minutes).
        ray: the cluster on which engines like this one segment.

    Raises:
        UsageError: the project does not show one image a task, or prototypes are missing that may not be made.
        RequestError: rows are no tasks in the end, each was reported; the project changed meanwhile; or rows fail by
            what would meet all others, too, such as a storage that is away for too long.
        LabelStudioAPIError: Label Studio refused, or did not answer for long.
        OVDiffError: a model cannot be loaded.
    """
    project = ProjectAtWork.of(wishes, settings, engine, ray)
    categories = project.categories()
    image_name = _image_name(project.all_ready())
    with project.prepared(categories, wishes, ray):
        fetching = _Fetching(addressing.images)
        predicting = project.predicting(fetching, ray)
        tasks = TaskImport(project.client, wishes.project, image_name)
        run = _Run(wishes, manifest, addressing, project, predicting, fetching, tasks, patience or Patience())
        run.run()
    if run.counts.failed.count:
        raise RequestError(
            f"{run.counts.failed.count} of {run.counts.rows} rows are no tasks; they are named above. {AGAIN}"
        )


def _image_name(snapshot: Snapshot) -> str:
    """Return the name of the image in the data of a task."""
    names = {image.data_key for image in snapshot.labelling.by_image(snapshot.ready)}
    if len(names) != 1:
        raise UsageError(
            f"The project shows {len(names)} images a task ({', '.join(sorted(names))}), and a row has one. Import its "
            "tasks by hand, and then run the command without --manifest."
        )
    return names.pop()


class _Run:
    """One run over a manifest. `counts` is true at every moment, also after an error or an interrupt."""

    def __init__(
        self,
        wishes: Wishes,
        manifest: Manifest,
        addressing: Addressing,
        project: ProjectAtWork,
        predicting: Predicting,
        fetching: _Fetching,
        tasks: TaskImport,
        patience: Patience,
    ) -> None:
        self._wishes, self._manifest, self._addressing = wishes, manifest, addressing
        self._project, self._predicting, self._faults = project, predicting, Faults()
        self._snapshot = project.all_ready() if wishes.dry_run else project.as_it_is()
        self._is_loaded = False
        self._fetching, self._patience, self._image_name = fetching, patience, tasks.image_name
        self.counts, self._known, self._claimed = _Counts(), KnownImages(tasks), AddressSet()
        self._importing = Importing(tasks, self._known, patience, self._check, self.counts.fail)

    def run(self) -> None:
        """Make tasks until no row is left or the limit is reached; what was done is said whatever ends the run."""
        began_s, ended = time.monotonic(), "by an error"
        try:
            self._patience.ask(self._known.look)
            with closing(self._new()) as new:
                if self._wishes.dry_run:
                    deque(islice(new, self._wishes.limit), maxlen=0)
                else:
                    self._work(new)
            ended = ""
        except KeyboardInterrupt:
            ended = "by Ctrl-C"
            raise
        except LabelStudioAPIError as error:
            raise LabelStudioAPIError(f"{error} {AGAIN}") from error
        finally:
            self._say(ended, time.monotonic() - began_s)

    def _work(self, new: Iterator[tuple[Row, str]]) -> None:
        """Import until the limit is reached: in place of rows that fail come others."""
        limit, importing = self._wishes.limit, self._importing
        with thread_pool(self._predicting.threads, "ovdiff-prelabel") as pool, closing(self._predicting.ahead):
            while limit is None or importing.imported < limit:
                before = self.counts.new
                try:
                    self._predict(islice(new, None if limit is None else limit - importing.imported), pool)
                except RequestError:
                    importing.flush()
                    raise
                importing.flush()
                if limit is None or self.counts.new == before:
                    return

    def _predict(self, new: Iterator[tuple[Row, str]], pool: Executor) -> None:
        ahead, predictor = self._predicting.ahead, self._predicting.predictor

        def submitted(found: tuple[Row, str]) -> Future[Answer]:
            row, address = found
            if not self._is_loaded:
                self._predicting.load()
                self._is_loaded = True
            self._fetching.rows[row.number] = row
            ahead.soon(address, row.number)
            return pool.submit(predictor.predict, self._task(row, address), self._snapshot)

        for (row, address), made in in_order(submitted, new, AHEAD * self._predicting.threads):
            ahead.forget(address, row.number)
            del self._fetching.rows[row.number]
            self._take(row, address, made)
            if row.number % TOLD_EVERY == 0:
                notice(f"row {row.number}: {self._importing.imported} tasks imported")

    def _new(self) -> Generator[tuple[Row, str]]:
        """Yield the rows that are no tasks, with their addresses."""
        maker = RowMaker(self._manifest.columns)
        try:
            for number, said in self._manifest.read():
                self.counts.rows += 1
                row = maker.row(number, said)
                if isinstance(row, BadRow):
                    self.counts.fail(row.number, row.value, row.reason)
                    continue
                try:
                    address = self._addressing.of(row)
                except RequestError as error:
                    self.counts.fail(row.number, without_secrets(row.image), str(error))
                    continue
                if address in self._known or not self._claimed.add(address):
                    self.counts.already += 1
                    continue
                self.counts.new += 1
                yield row, address
        finally:
            maker.close()

    def _take(self, row: Row, address: str, made: Answer) -> None:
        is_made = made.kind == "answered"
        if not is_made:
            self.counts.fail(row.number, without_secrets(row.image), made.item["error"])
        self._faults.note(made)
        if not is_made:
            return
        wanted = ("result", "score", "model_version")
        prediction: dict[str, Any] = {key: made.item[key] for key in wanted if key in made.item}
        data = self._task(row, address)["data"]
        self._importing.add(NewTask(row.number, address, data, prediction), time.monotonic())

    def _task(self, row: Row, address: str) -> dict[str, Any]:
        data: Mapping[str, Any] = {**row.carried, self._image_name: address}
        return {"id": row.number, "data": data}

    def _check(self) -> None:
        """Look at the project again, before tasks are imported with predictions of a version."""
        if self._patience.ask(self._project.as_it_is).version != self._snapshot.version:
            raise RequestError(
                "The project's label config, or what the engine knows, changed while this ran. "
                f"{self._importing.imported} tasks were imported under {self._snapshot.version}. {AGAIN}"
            )

    def _say(self, ended: str, seconds: float) -> None:
        counts, wishes, version = self.counts, self._wishes, self._snapshot.version
        done = {"rows": counts.rows, "already_tasks": counts.already, "new": counts.new}
        done |= {"imported": self._importing.imported, "failed": counts.failed.count}
        head = {"project": wishes.project, "manifest": self._manifest.name, "dry_run": wishes.dry_run}
        answer({**head, "interrupted": ended, "model_version": version, **done, "failed_rows": counts.failed.told})
        say(f"project {wishes.project}, model version {version}")
        say(f"rows: {counts.rows}{f', then ended {ended}' if ended else ''}, of which tasks already: {counts.already}")
        if wishes.dry_run:
            say(f"would be imported with a prediction: {counts.new}")
        else:
            say(f"imported with a prediction: {self._importing.imported}, in {seconds:.0f} s")
        if counts.failed.count:
            say(f"no tasks in the end: {counts.failed.count}")
        if ended:
            say(AGAIN)


def addressing_of(images: Path | None, prefix: str, manifest: Manifest, settings: Settings) -> Addressing:
    """Return where the images of a manifest are, and what the tasks call them.

    Args:
        images: the folder that paths of rows are relative to, or its address; None: the manifest's own.
        prefix: what precedes a path in the tasks; "" where that is the address of the folder.
        manifest: the rows.
        settings: how large an image may be, and what may be fetched.
    """
    from backend.command.manifest.images import FetcherOfSettings

    fetcher = FetcherOfSettings(settings.label_studio, settings.images)
    folder = str(images or manifest.folder)
    return Addressing(ImagesOfRows(folder, fetcher, settings.storage_patience_s), prefix)
