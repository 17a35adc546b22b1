"""`ovdiff export`: a project of Label Studio as two files, which the converters' commands read."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backend.command.console import say
from backend.errors import LabelStudioAPIError, RequestError, UsageError
from backend.sources.label_studio import LabelStudioClient
from backend.sources.task_pages import read_task_pages
from converters.console import answer
from converters.errors import OutputError
from converters.files.output import JsonList, new_file, write_json

logger = logging.getLogger(__name__)

EXPORT_NAME, CONFIG_NAME = "export.json", "config.xml"
TELL_EVERY_S = 5.0


@dataclass
class _Counts:
    tasks: int = 0
    annotations: int = 0
    predictions: int = 0
    in_all: int | None = None

    def sentence(self) -> str:
        return f"{self.tasks} tasks with {self.annotations} annotations and {self.predictions} predictions"


def export_project(
    client: LabelStudioClient, project_id: int, folder: Path, clock_s: Callable[[], float] = time.monotonic
) -> None:
    """Write all tasks of a project, with their annotations and predictions, and its label config.

    Nothing is written before the last task has arrived; the tasks wait in a temporary file of `folder`. The same
    command again makes the two files anew.

    Args:
        client: Label Studio, as a user who may see the project.
        project_id: the number of the project.
        folder: the folder for export.json and config.xml. It is made if it is missing; older files of these names are
            replaced.
        clock_s: a clock, for the lines that tell how far it is.

    Raises:
        LabelStudioAPIError: Label Studio refused or did not answer; the message says how far it was.
        RequestError: the files cannot be written.
        UsageError: `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out is {str(folder)!r}, a file; expected a folder for {EXPORT_NAME} and {CONFIG_NAME}.")
    config = client.project(project_id).label_config
    counts = _Counts()
    with _explained(project_id, counts), _folder_for(folder):
        tasks = _collect(client, project_id, JsonList(folder), counts, clock_s)
        write_json(tasks, folder / EXPORT_NAME)
        with new_file(folder / CONFIG_NAME) as file:
            file.write(config)
    _say_what_is_next(client, folder, counts)


def _collect(
    client: LabelStudioClient, project_id: int, tasks: JsonList, counts: _Counts, clock_s: Callable[[], float]
) -> JsonList:
    """Append all tasks of a project to a list on disk, and log a line every few seconds."""
    told_s = clock_s()
    for page in read_task_pages(client, project_id):
        for task in page.tasks:
            tasks.append(task)
            counts.tasks += 1
            counts.annotations += len(task.get("annotations") or ())
            counts.predictions += len(task.get("predictions") or ())
        counts.in_all = counts.tasks + page.left
        if clock_s() - told_s >= TELL_EVERY_S:
            told_s = clock_s()
            logger.info("export of project %d: %d of %d tasks", project_id, counts.tasks, counts.in_all)
    return tasks


@contextmanager
def _folder_for(folder: Path) -> Iterator[None]:
    """Make the folder if it is missing; if the block fails, take it away again unless something is in it."""
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):  # it holds something, after all
                folder.rmdir()
        raise


@contextmanager
def _explained(project_id: int, counts: _Counts) -> Iterator[None]:
    """Say in the message of a failure how far the export was, and what to do."""
    try:
        yield
    except LabelStudioAPIError as error:
        if counts.in_all is None:
            raise
        raise LabelStudioAPIError(
            f"{error} {counts.tasks} of the {counts.in_all} tasks of project {project_id} had arrived. Nothing was "
            "written; run the same command again."
        ) from error
    except (OSError, OutputError) as error:
        raise RequestError(
            f"The export of project {project_id} cannot be written: {error}. Make room or name another folder with "
            "--out, and run the same command again."
        ) from error


def _say_what_is_next(client: LabelStudioClient, folder: Path, counts: _Counts) -> None:
    export, config = folder / EXPORT_NAME, folder / CONFIG_NAME
    answer({**vars(counts), "written": [export, config]})
    say(f"exported: {counts.sentence()}")
    say(f"written: {export}, {config}")
    if counts.annotations:
        read = f"{export} --label-config {config}"
        say(f"now: ovdiff convert coco {read} --out {folder / 'coco.json'}")
        links = f"--label-studio-url {client.base_url}"
        say(f"     ovdiff evaluate-corrections {read} --out {folder / 'report'} {links}")
