"""What became of the tasks of one run, counted; bounded, however many tasks a project has.

Tested by tests/backend/command/test_prelabel.py.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, get_args

from backend.serving.prelabelling.plans import Plan, Replaced, Why

WHYS = get_args(Why)  # all of them from the start: another thread may read while this one counts
MOST_REASONS = 1000  # the reasons of further tasks are counted and not kept


@dataclass
class Outcome:
    """The counts of a run; written by one thread.

    Attributes:
        version: the model version of the new predictions.
        in_all: how many tasks are meant; None until that is known.
        plans: how many tasks were looked at, by what they lack or why they need nothing.
        predicted: how many new predictions were stored.
        stored_meanwhile: how many were predicted here while somebody else stored the same prediction.
        removed: how many old predictions of ours were deleted; in a dry run: would be.
        waiting: how many were replaced too lately for that, so that a later run deletes them.
        kept: how many outdated predictions of ours stay, because an annotation began with them.
        failed: why tasks have no prediction, by their id.
        failures: how many tasks have none, those without a kept reason too.
        changed: why the run ended before its last task, if the project changed meanwhile.
    """

    version: str
    in_all: int | None = None
    plans: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(WHYS, 0)))
    predicted: int = 0
    stored_meanwhile: int = 0
    removed: int = 0
    waiting: int = 0
    kept: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    failures: int = 0
    changed: str = ""

    @property
    def looked_at(self) -> int:
        """How many tasks were looked at."""
        return sum(self.plans.values())

    @property
    def lacking(self) -> int:
        """How many tasks lacked a prediction of the present version."""
        return self.plans["missing"] + self.plans["outdated"]

    def note_plan(self, plan: Plan, *, is_dry: bool) -> None:
        """Count a task that was looked at. Where something is to be deleted, it is looked at once more before that."""
        self.plans[plan.why] += 1
        if is_dry or not plan.replaced.removed:
            self.note_replaced(plan.replaced)
        if is_dry:
            self.removed += len(plan.replaced.removed)

    def note_replaced(self, replaced: Replaced) -> None:
        """Count the old predictions of a task that are not deleted now."""
        self.waiting += replaced.waiting
        self.kept += replaced.kept

    def note_failure(self, task: int, reason: str) -> None:
        """Count a task that has no prediction."""
        self.failures += 1
        if len(self.failed) < MOST_REASONS:
            self.failed[task] = reason

    def to_json(self) -> dict[str, Any]:
        """Return the counts as a JSON object."""
        return {
            "model_version": self.version,
            "tasks": self.in_all,
            "looked_at": self.looked_at,
            "lacking": self.lacking,
            "missing": self.plans["missing"],
            "outdated": self.plans["outdated"],
            "up_to_date": self.plans["up to date"],
            "never_predicted": self.plans["never predicted"],
            "annotated": self.plans["annotated"],
            "predicted": self.predicted,
            "stored_meanwhile": self.stored_meanwhile,
            "removed": self.removed,
            "removed_later": self.waiting,
            "kept_for_annotations": self.kept,
            "failures": self.failures,
            "failed": [{"task": task, "reason": reason} for task, reason in self.failed.items()],
            "ended_early": self.changed,
        }
