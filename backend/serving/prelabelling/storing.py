"""New predictions go into Label Studio, and after them, when nobody has them open any more, the old ones go out.

In this order a kill loses nothing: at every moment a task has its old prediction, its new one, or both. Label Studio
refuses an annotation that began with a prediction which is gone. So what a task has is read again right before anything
of it is deleted, and what was replaced lately is left to a later run. Label Studio
takes a prediction twice if it is sent twice. So before each request it is asked which tasks have theirs already, such
as from a request whose answer was lost, or because somebody opened the task meanwhile.

Tested by tests/backend/command/test_prelabel.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar

from backend.errors import LabelStudioRefusedError
from backend.serving.prelabelling.outcome import Outcome
from backend.serving.prelabelling.patience import Patience
from backend.serving.prelabelling.plans import Plan, find_replaced
from backend.sources.stored_predictions import StoredPrediction, StoredPredictions

MOST_PREDICTIONS, MOST_BYTES = 20, 4 * 2**20  # of one request; a kill costs at most so much work
TIDIED_AT_ONCE = 20  # tasks: between reading what they have and the last deletion few seconds pass
MOST_SECONDS = 10.0  # a prediction that waits for so long is stored, as soon as the next one is made

Item = TypeVar("Item")

NOT_TAKEN = "Label Studio did not take the prediction, and says only in its log why."


@dataclass(frozen=True)
class Made:
    """A new prediction, and the plan that it belongs to."""

    plan: Plan
    item: Mapping[str, Any]

    def body(self) -> dict[str, Any]:
        """Return the prediction as Label Studio's import takes it."""
        wanted = ("result", "score", "model_version")
        return {"task": self.plan.id, **{key: self.item[key] for key in wanted if key in self.item}}


class Batch(Generic[Item]):
    """What waits to be sent in one request: so many items, bytes and seconds at most. For one thread."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._items: list[Item] = []
        self._bytes, self._since_s = 0, 0.0

    def __len__(self) -> int:
        """Return how many items wait."""
        return len(self._items)

    def has_room(self, size_bytes: int) -> bool:
        """Say whether an item of this size may go into the same request; the first one always may."""
        return not self._items or self._bytes + size_bytes <= MOST_BYTES

    def add(self, item: Item, size_bytes: int, now_s: float) -> None:
        """Take an item; the first one begins the seconds."""
        if not self._items:
            self._since_s = now_s
        self._items.append(item)
        self._bytes += size_bytes

    def is_due(self, now_s: float) -> bool:
        """Say whether the batch is large or old enough to be sent."""
        full = len(self._items) >= MOST_PREDICTIONS or self._bytes >= MOST_BYTES
        return full or (bool(self._items) and now_s - self._since_s >= MOST_SECONDS)

    def take(self) -> list[Item]:
        """Return what waits, and hold nothing."""
        taken, self._items, self._bytes = self._items, [], 0
        return taken


def send_halves(
    items: Sequence[Item], send: Callable[[Sequence[Item]], object], refused: Callable[[Item, str], object]
) -> None:
    """Send items in one request; where one is refused, Label Studio takes none, so halves are sent without it.

    Args:
        items: what is to be sent; nothing is sent where there is none.
        send: sends some of them, and raises LabelStudioRefusedError where one is refused.
        refused: called with an item that is refused by itself, and the reason.
    """
    if not items:
        return
    try:
        send(items)
    except LabelStudioRefusedError as error:
        if len(items) == 1:
            refused(items[0], str(error))
            return
        half = len(items) // 2
        send_halves(items[:half], send, refused)
        send_halves(items[half:], send, refused)


class Storing:
    """Stores predictions by the batch. For one thread."""

    def __init__(
        self,
        stored: StoredPredictions,
        patience: Patience,
        outcome: Outcome,
        check: Callable[[], object],
        failed: Callable[[int, str], object],
        *,
        before: Callable[[], datetime],
    ) -> None:
        """Store nothing yet.

        Args:
            stored: the predictions that Label Studio has.
            patience: asks Label Studio again while it does not answer.
            outcome: the counts of what is stored and deleted; its version is that of all predictions.
            check: called before a batch is stored; what it raises keeps the batch from being stored.
            failed: called with a task whose prediction Label Studio did not take, and the reason.
            before: returns the moment at which a prediction must have been replaced, or earlier, to be deleted now.
        """
        self._stored, self._patience, self._outcome = stored, patience, outcome
        self._check, self._failed, self._before = check, failed, before
        self._batch = Batch[Made]()

    def add(self, made: Made, now_s: float) -> None:
        """Take a new prediction, and store the batch if it is large or old enough.

        Raises:
            LabelStudioAPIError: Label Studio refused or did not answer for long.
        """
        size_bytes = len(json.dumps(made.item["result"]))
        if not self._batch.has_room(size_bytes):
            self.flush()
        self._batch.add(made, size_bytes, now_s)
        self.flush_if_due(now_s)

    def flush_if_due(self, now_s: float) -> None:
        """Store the batch if it is large or old enough."""
        if self._batch.is_due(now_s):
            self.flush()

    def flush(self) -> None:
        """Store what is in the batch, and then delete what it replaces.

        Raises:
            LabelStudioAPIError: Label Studio refused or did not answer for long.
        """
        batch = self._batch.take()
        if not batch:
            return
        self._check()
        there = self._store(batch)
        self.tidy([made.plan.id for made in batch if made.plan.id in there and made.plan.replaced.removed])

    @property
    def waiting(self) -> int:
        """How many new predictions are not stored yet."""
        return len(self._batch)

    def tidy(self, tasks: Sequence[int]) -> None:
        """Delete those predictions of tasks that were replaced long enough ago, by what Label Studio has of them now.

        Raises:
            LabelStudioAPIError: Label Studio refused or did not answer for long.
        """
        for start in range(0, len(tasks), TIDIED_AT_ONCE):
            some = tasks[start : start + TIDIED_AT_ONCE]
            # Drafts first: what is submitted between the two requests is an annotation in the second one.
            drafts = self._patience.ask(partial(self._stored.with_draft, some))
            for task, predictions in self._patience.ask(partial(self._stored.of, some)).items():
                self._tidy(predictions, has_draft=task in drafts)

    def _tidy(self, predictions: Sequence[StoredPrediction], *, has_draft: bool) -> None:
        found = find_replaced(predictions, self._outcome.version, self._before())
        if has_draft or not found.has_current:
            found = replace(found, removed=(), waiting=found.waiting + len(found.removed))
        self._outcome.note_replaced(found)
        for prediction in found.removed:
            self._patience.ask(partial(self._stored.remove, prediction))
            self._outcome.removed += 1

    def _store(self, batch: Sequence[Made]) -> set[int]:
        """Store a batch; return the tasks that have their prediction now."""
        tasks, version = [made.plan.id for made in batch], self._outcome.version
        sent: set[int] = set()
        refused: dict[int, str] = {}
        attempts = 0

        def attempt() -> None:
            nonlocal attempts
            attempts += 1
            there = self._stored.with_version(tasks, version)
            new = [made for made in batch if made.plan.id not in there and made.plan.id not in refused]
            sent.update(made.plan.id for made in new)
            send_halves(
                new,
                lambda some: self._stored.add([made.body() for made in some]),
                lambda made, reason: refused.update({made.plan.id: reason}),
            )

        self._patience.ask(attempt)
        there = self._patience.ask(lambda: self._stored.with_version(tasks, version))
        if attempts > 1:
            self._drop_repeated(sorted(there & sent), version)
        for task in tasks:
            if task not in there:
                self._failed(task, refused.get(task, NOT_TAKEN))
        self._outcome.predicted += len(there & sent)
        self._outcome.stored_meanwhile += len(there - sent)
        return there

    def _drop_repeated(self, tasks: Sequence[int], version: str) -> None:
        """Delete what was stored twice: by a request whose answer was lost, and by the one that was sent after it."""
        for predictions in self._patience.ask(lambda: self._stored.of(tasks)).values():
            same = sorted((each for each in predictions if each.version == version), key=lambda each: not each.is_used)
            for repeated in same[1:]:
                if not repeated.is_used:
                    self._patience.ask(partial(self._stored.remove, repeated.id))
