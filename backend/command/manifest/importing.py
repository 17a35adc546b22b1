"""Rows become tasks of a project, with their predictions, in batches.

Label Studio itself is the record of what is done: a row whose image's address is that of a task is done. So a run that
was killed goes on where it was, and makes no task twice. Only an import that Label Studio goes on with after the last
look at it can do that: Label Studio does not tell of it. Addresses are compared without signatures, and wait on the
disk as hashes.

Tested by tests/backend/command/test_prelabel_manifest.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend.command.manifest.image_identity import image_identity
from backend.command.manifest.seen import Seen
from backend.errors import LabelStudioAPIError, LabelStudioTimeoutError
from backend.serving.prelabelling.patience import Patience
from backend.serving.prelabelling.storing import Batch, send_halves
from backend.sources.task_import import IMPORT_WITHIN_S, TaskImport

FIRST_LOOK_S, LAST_LOOK_S = 1.0, 15.0  # between two looks for tasks of an import that was given up

NOT_TAKEN = "Label Studio did not take the task, and says only in its log why."


@dataclass(frozen=True)
class NewTask:
    """A row that is no task yet.

    Attributes:
        number: the number of the row.
        address: its image, as the task names it.
        data: the data of the task, with the image.
        prediction: what Label Studio stores of it: result, score and model_version.
    """

    number: int
    address: str
    data: Mapping[str, Any]
    prediction: Mapping[str, Any]

    def body(self) -> dict[str, Any]:
        """Return the task as Label Studio's import takes it."""
        return {"data": dict(self.data), "predictions": [dict(self.prediction)]}


class AddressSet:
    """Addresses of images, in a temporary file. The thread that made it uses it."""

    def __init__(self) -> None:
        """Hold none yet."""
        self._seen = Seen()

    def add(self, address: str) -> bool:
        """Hold an address; return whether it is new.

        Raises:
            RequestError: the temporary folder has no room for it.
        """
        return self._seen.add(_hash(address)) is None

    def __contains__(self, address: str) -> bool:
        """Say whether the image of an address is held."""
        return _hash(address) in self._seen


class KnownImages(AddressSet):
    """The addresses of the images that are tasks of a project."""

    def __init__(self, tasks: TaskImport) -> None:
        """Ask nothing yet."""
        super().__init__()
        self._tasks, self._last_id = tasks, 0

    def look(self) -> None:
        """Read the tasks that were added since the last look.

        Raises:
            LabelStudioAPIError: Label Studio refused or did not answer. What was read until then is known.
        """
        for last_id, addresses in self._tasks.pages(self._last_id):
            for address in addresses:
                self.add(address)
            self._last_id = last_id


class Importing:
    """Imports tasks by the batch. For one thread."""

    def __init__(
        self,
        tasks: TaskImport,
        known: KnownImages,
        patience: Patience,
        check: Callable[[], object],
        failed: Callable[[int, str, str], object],
    ) -> None:
        """Import nothing yet.

        Args:
            tasks: the project's tasks.
            known: what is a task already.
            patience: asks Label Studio again while it does not answer.
            check: called before a batch is sent; what it raises keeps the batch from being sent.
            failed: called with the number and the image of a row that is no task in the end, and the reason.
        """
        self._tasks, self._known, self._patience = tasks, known, patience
        self._check, self._failed = check, failed
        self._batch = Batch[NewTask]()
        self.imported = 0

    def add(self, task: NewTask, now_s: float) -> None:
        """Take a new task, and import the batch if it is large or old enough.

        Raises:
            LabelStudioAPIError: Label Studio refused or did not answer for long.
        """
        size_bytes = len(json.dumps(task.prediction["result"]))
        if not self._batch.has_room(size_bytes):
            self.flush()
        self._batch.add(task, size_bytes, now_s)
        if self._batch.is_due(now_s):
            self.flush()

    def flush(self) -> None:
        """Import what is in the batch, and look what is there then.

        Raises:
            LabelStudioAPIError: Label Studio refused or did not answer for long.
        """
        batch = self._batch.take()
        if not batch:
            return
        self._check()
        refused: dict[int, str] = {}

        def attempt() -> None:
            self._known.look()  # Somebody may have imported them, or the answer to an earlier attempt was lost.
            new = [task for task in batch if task.address not in self._known]
            send_halves(new, self._send, lambda task, reason: refused.update({task.number: reason}))

        self._patience.ask(attempt)
        self._patience.ask(self._known.look)
        for task in batch:
            if task.address in self._known:
                self.imported += 1
            else:
                self._failed(task.number, task.address, refused.get(task.number, NOT_TAKEN))

    def _wait_for(self, tasks: Sequence[NewTask]) -> None:
        """Wait for tasks that Label Studio may still be importing: what is sent again then is there twice.

        Raises:
            LabelStudioAPIError: they do not appear for as long as an import may take, or Label Studio does not answer.
        """
        waited_s, pause_s = 0.0, FIRST_LOOK_S
        while True:
            self._patience.ask(self._known.look)
            if not (left := [task for task in tasks if task.address not in self._known]):
                return
            if waited_s >= IMPORT_WITHIN_S:
                raise LabelStudioAPIError(
                    f"Label Studio took too long to import tasks, and {len(left)} of {len(tasks)} did not appear for "
                    f"{waited_s:.0f} s. They are not sent again, because it may still be at work on them."
                )
            self._patience.wait(pause_s)
            waited_s += pause_s
            pause_s = min(2 * pause_s, LAST_LOOK_S)

    def _send(self, tasks: Sequence[NewTask]) -> None:
        try:
            self._tasks.add([task.body() for task in tasks])
        except LabelStudioTimeoutError:
            self._wait_for(tasks)


def _hash(address: str) -> bytes:
    return hashlib.sha256(image_identity(address).encode("utf-8", "surrogatepass")).digest()[:16]
