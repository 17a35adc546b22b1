"""Prototypes made in the background: the worker compares what projects want with what the bank has.

There is no queue that could be lost. Each project states which categories it wants. One worker thread takes the next
category, asks the bank for it, and has the engine build it if the bank does not have it. After a crash or a restart the
same comparison finds the missing categories again. A changed label config costs only its new categories. Projects take
turns, a category at a time (`backend.serving.preparing.turns`).

The bank is asked without the lock, one category after another, and what it answered is remembered: a look of the worker
costs one question, however many projects there are. Whoever asks for the standing of categories asks the bank for these
alone; a set that vanished from the bank is noticed there, and built again.

What would meet every category, such as a full disk, fails all of them at once, and is tried again by itself
(`backend.serving.preparing.failures`).
"""

from __future__ import annotations

import functools
import logging
import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from backend.serving.figures import BuildFigures
from backend.serving.preparing.asking import Answer, ask, is_built_elsewhere
from backend.serving.preparing.failures import Failures, is_of_all, unexpected
from backend.serving.preparing.standing import UNWANTED, Standing, Status
from backend.serving.preparing.turns import Turns
from backend.serving.preparing.words import Words
from ovdiff.engines.building import DrawsAhead
from ovdiff.engines.contract import Builder
from ovdiff.errors import OVDiffError
from ovdiff.vocabulary import Category

logger = logging.getLogger(__name__)

MEASURED_BUILDS = 10


class _StoppedError(Exception):
    """The running build is given up: the service ends, or no project wants the category any more.

    What was drawn so far is kept, so whoever builds the category later goes on there.
    """


class Precompute:
    """One worker thread that makes wanted prototypes, one category at a time. Threads may share it."""

    def __init__(
        self,
        builder: Builder,
        *,
        retry_failed_after_s: float,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remember the builder. Building begins with `start`."""
        self._builder = builder
        self._failures = Failures(retry_failed_after_s, clock_s)
        self._clock_s = clock_s
        self._changed = threading.Condition()  # Whoever holds it does not wait: neither the bank nor the disk is asked.
        self._turns = Turns()
        self._words = Words(builder)
        self._put_off: set[Category] = set()  # because another service builds them; of the worker alone
        self._ahead: dict[Category, float] = {}  # drawn with others, and a share of the seconds
        self._failed: dict[Category, Status] = {}
        self._all_failed: Status | None = None
        self._building: tuple[str, Status] | None = None
        self._built: list[str] = []
        self._build_s: deque[float] = deque(maxlen=MEASURED_BUILDS)
        self._figures = BuildFigures()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the worker."""
        self._thread = threading.Thread(target=self._work, name="ovdiff-precompute", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ask the worker to end after the step it is at, and wait for it, at most `timeout_s`."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def want(self, project_uid: str, categories: Sequence[Category]) -> None:
        """Replace the categories that a project wants. This asks nothing of the bank, so it returns at once."""
        with self._changed:
            now_s = self._clock_s()
            failed = {category: self._failed[category] for category in categories if category in self._failed}
            self._reopen(category for category, status in failed.items() if now_s >= status.asked_from_s)
            self._turns.want(project_uid, categories)
            self._words.want(categories)
            self._drop_unwanted()  # This wakes the worker.

    def forget(self, project_uid: str) -> None:
        """Drop a project. Prototypes that were made for it stay in the bank."""
        with self._changed:
            self._turns.forget(project_uid)
            self._drop_unwanted()

    def status(self, category: Category) -> Status:
        """Return how far the prototypes of a category are."""
        return self.look([category])[category][1]

    def look(self, categories: Iterable[Category]) -> dict[Category, tuple[str, Status]]:
        """Return for each category the key of its prototypes, and how far they are. The bank is asked for each."""
        return {category: (answer.key, status) for category, (answer, status) in self._ask_all(categories).items()}

    def ready(self, categories: Iterable[Category]) -> dict[Category, str]:
        """Return the categories whose prototypes exist, each with the key of its prototypes."""
        return self.standing(categories).ready

    def standing(self, categories: Iterable[Category]) -> Standing:
        """Return which categories are ready, which are still to be built, and which failed."""
        asked = self._ask_all(categories)
        statuses = {category: status for category, (_, status) in asked.items()}
        return Standing(
            {c: answer.key for c, (answer, status) in asked.items() if status.state == "ready"},
            {c: str(status) for c, status in statuses.items() if not status.is_settled},
            {c: str(status) for c, status in statuses.items() if status.is_settled and status.state != "ready"},
        )

    def wait(self, categories: Iterable[Category], timeout_s: float) -> None:
        """Wait until all of the categories are settled (see `Status.is_settled`), at most `timeout_s`.

        There is nothing to wait for in a category that no project wants. If by the time that the last builds took the
        wait would be in vain, it is not begun: nobody opens each of his tasks a minute later for nothing.
        """
        waited_for = tuple(categories)
        if timeout_s > 0:
            self._ask_all(waited_for)  # What the bank has need not wait for the worker's look.
        with self._changed:
            if self._expected_s(waited_for) <= timeout_s:
                self._changed.wait_for(lambda: self._is_settled(waited_for), timeout_s)

    @property
    def built(self) -> tuple[str, ...]:
        """The names of the categories that this process has built, in the order of building."""
        with self._changed:
            return tuple(self._built)

    @property
    def figures(self) -> BuildFigures:
        """How many builds this process has ended, and how long they took."""
        with self._changed:
            return self._figures

    def queue(self) -> list[tuple[str, Category]]:
        """Return the categories whose turn is still to come, in that order, each with the project whose turn it is.

        The one that is being built is among them, and so is one that the bank has, until the worker has looked.
        """
        with self._changed:
            return self._turns.order()

    @property
    def failed_for_all(self) -> str:
        """Why no category can be built at the moment, such as weights that are missing; "" if nothing is known."""
        with self._changed:
            if self._all_failed is None and self._has_died():
                return "the thread that builds categories has ended, the service's log says why; restart the service"
            return self._all_failed.reason if self._all_failed is not None else ""

    def _has_died(self) -> bool:
        return self._thread is not None and not self._thread.is_alive() and not self._stopping

    def _expected_s(self, categories: Iterable[Category]) -> float:
        """Return how long the open ones of the categories will take at least; 0 before the first build was measured.

        Other projects, which take turns with this one, are not counted.
        """
        if not self._build_s:
            return 0.0
        count = sum(self._turns.is_open(category) and category not in self._failed for category in set(categories))
        begun = self._building[1].progress if self._building is not None else 0.0
        return max(0.0, count - begun) * statistics.median(self._build_s)

    def _is_settled(self, categories: Iterable[Category]) -> bool:
        if self._stopping or self._all_failed is not None:
            return True
        return not any(self._turns.is_open(category) and category not in self._failed for category in categories)

    def _ask_all(self, categories: Iterable[Category]) -> dict[Category, tuple[Answer, Status]]:
        """Return what the bank says of each category, and the status that follows.

        A category that was in the bank before and is not there now is asked for once more, because it may have been
        finished after the bank was asked. If it is really gone, it is open again.
        """
        answers = {category: ask(self._builder, category) for category in categories}
        with self._changed:
            vanished = [category for category, answer in answers.items() if self._has_vanished(category, answer)]
        answers |= {category: ask(self._builder, category) for category in vanished}
        with self._changed:
            self._reopen(category for category in vanished if self._has_vanished(category, answers[category]))
            return {category: (answer, self._settled_status(category, answer)) for category, answer in answers.items()}

    def _has_vanished(self, category: Category, answer: Answer) -> bool:
        settled = self._turns.is_wanted(category) and not self._turns.is_open(category)
        return settled and category not in self._failed and not answer.has and not answer.error

    def _settled_status(self, category: Category, answer: Answer) -> Status:
        """Return the status that follows from what the bank said; a category that it has is settled by that."""
        if answer.error:
            return Status("failed", reason=answer.error)
        if self._building is not None and self._building[0] == answer.key:
            return replace(self._building[1], failed_before=category in self._failed or self._all_failed is not None)
        if answer.has:
            self._settle(category)
            return Status("ready", progress=1.0)
        if not self._turns.is_wanted(category):
            return UNWANTED
        return self._failed.get(category) or self._all_failed or Status("queued")

    def _settle(self, category: Category, failure: Status | None = None) -> None:
        """Note that a category needs no turn now, because the bank has it, or because it failed."""
        if not self._turns.is_wanted(category):
            return
        if failure is None and category not in self._failed and not self._turns.is_open(category):
            return  # as it was: nobody who waits needs to look
        if failure is None:
            self._failed.pop(category, None)
        else:
            self._failed[category] = failure
        self._turns.settle(category)
        self._changed.notify_all()

    def _reopen(self, categories: Iterable[Category]) -> None:
        """Have categories looked at again. One whose build failed is remembered as such until it is ready."""
        for category in categories:
            if category in self._failed and self._failed[category].asked_from_s == -math.inf:
                del self._failed[category]
            self._turns.reopen(category)
            self._changed.notify_all()

    def _drop_unwanted(self) -> None:
        """Forget what failed or was drawn of categories that no project wants any more, and wake those who wait."""
        self._failed = {each: status for each, status in self._failed.items() if self._turns.is_wanted(each)}
        self._ahead = {each: seconds for each, seconds in self._ahead.items() if self._turns.is_wanted(each)}
        self._changed.notify_all()

    def _work(self) -> None:
        while (turn := self._next_turn()) is not None:
            project_uid, category = turn
            try:
                if project_uid is None:
                    self._words.judge(category)
                else:
                    self._take_turn(project_uid, category)
            except Exception as error:  # An engine may come from another package; the worker must outlive its mistakes.
                logger.exception("Preparing the category %r failed unexpectedly.", category.name)
                with self._changed:
                    self._building = None
                    self._settle(category, self._failures.of_build(unexpected(error)))

    def _take_turn(self, project_uid: str, category: Category) -> None:
        """Look whether the bank has a category, and build it if nobody does."""
        answer = ask(self._builder, category)
        if answer.has or answer.error:
            failure = self._failures.unaskable(answer.error) if answer.error else None
            if failure is not None:
                self._failures.log(f"Category {category.name!r}", failure)
            with self._changed:
                self._settle(category, failure)
        elif category not in self._put_off and is_built_elsewhere(self._builder, category):
            self._put_off.add(category)  # Once all are, there is nothing but to wait for one.
            with self._changed:
                self._turns.put_off(category)
        else:
            self._put_off.clear()
            self._build(project_uid, category, answer.key)

    def _next_turn(self) -> tuple[str | None, Category] | None:
        """Wait until a category is open or a failure is due again; return the next turn, or None at the end.

        While nothing is open, words are judged that were not judged before: a turn of no project.
        """
        with self._changed:
            while not self._stopping:
                now_s = self._clock_s()
                self._reopen_due(now_s)
                turn = self._turns.next()
                if turn is None:  # a fault that met all categories would be retried with none
                    self._all_failed = None
                    if (word := self._words.next()) is not None:
                        return None, word
                elif self._all_failed is None or now_s >= self._all_failed.alone_from_s:
                    return turn
                self._changed.wait(self._until_due_s(now_s))
        return None

    def _reopen_due(self, now_s: float) -> None:
        due = [category for category, status in self._failed.items() if now_s >= status.alone_from_s]
        if due := [category for category in due if not self._turns.is_open(category)]:
            self._reopen(due)

    def _until_due_s(self, now_s: float) -> float | None:
        """Return how long the worker has nothing to do, in seconds, unless something changes; None: for ever."""
        failures = [status for category, status in self._failed.items() if not self._turns.is_open(category)]
        failures += [self._all_failed] if self._all_failed is not None else []
        due_s = min((status.alone_from_s for status in failures), default=math.inf)
        return None if due_s == math.inf else max(0.0, due_s - now_s)

    def _build(self, project_uid: str, category: Category, key: str) -> None:
        """Build one category. Any error becomes the reason in its status, because the worker must go on."""
        with self._changed:
            self._building = (key, Status("building", stage="starting"))
            group = self._drawn_together(category)
            self._turns.end_turn(project_uid)
        started_s = self._clock_s()
        logger.info("Category %r: making its prototypes.", category.name)
        failure, of_all = None, False
        try:
            started_s += self._draw_ahead(group)
            with self._changed:
                started_s -= self._ahead.pop(category, 0.0)
            self._builder.build(category, functools.partial(self._report, category))
            if self._builder.category_key(category) != key:  # a person changed its support set meanwhile
                self._leave_open(f"Category {category.name!r}: changed while it was built; it is built again.")
                return
            if not self._builder.has(category):  # would be built again at once, and again
                failure = self._failures.of_build("it was built, but the bank does not have it; is the folder shared?")
        except _StoppedError:
            self._leave_open(f"Category {category.name!r}: given up; what was drawn in whole batches is kept.")
            return
        except (OVDiffError, OSError) as error:
            of_all = is_of_all(error)
            failure = self._failures.of_build(str(error), alone=of_all)
        except Exception as error:
            logger.exception("Building %r failed unexpectedly.", category.name)
            failure = self._failures.of_build(unexpected(error))
        self._end_build(category, self._clock_s() - started_s, failure, of_all=of_all)

    def _end_build(self, category: Category, seconds: float, failure: Status | None, *, of_all: bool) -> None:
        """Note what became of a build; a failure would meet every category, or concerns this one."""
        if failure is not None:
            self._failures.log("Every category" if of_all else f"Category {category.name!r}", failure)
        with self._changed:
            self._building = None
            if failure is None:
                self._built.append(category.name)
                self._build_s.append(seconds)
                logger.info("Category %r is ready after %.1f s.", category.name, seconds)
            self._figures = self._figures.with_build(failure is None, seconds)
            self._all_failed = failure if of_all else None
            if not of_all:
                self._settle(category, failure)
            self._changed.notify_all()

    def _drawn_together(self, category: Category) -> list[Category]:
        """Return a category with those whose turns come next, as many as the engine draws together.

        It is alone where the engine draws no two together, and where it was drawn with one before it.
        """
        most = self._builder.categories_together if isinstance(self._builder, DrawsAhead) else 1
        if most < 2 or category in self._ahead:
            return [category]
        left_out = (category, *self._failed, *self._put_off)
        return [category, *(each for _, each in self._turns.order() if each not in left_out)][:most]

    def _draw_ahead(self, group: Sequence[Category]) -> float:
        """Have the engine draw categories together, unless there is but one; return the seconds."""
        if len(group) < 2 or not isinstance(self._builder, DrawsAhead):
            return 0.0
        first, done = group[0], 0.0

        def report(told: Category, stage: str, fraction: float) -> None:
            nonlocal done
            done = fraction if told == first else done
            self._report(first, stage, done)

        started_s = self._clock_s()
        self._builder.draw_ahead(group, report)
        took_s = self._clock_s() - started_s
        with self._changed:
            self._ahead = dict.fromkeys(filter(self._turns.is_wanted, group), took_s / len(group))
        return took_s

    def _leave_open(self, why: str) -> None:
        logger.info("%s", why)
        with self._changed:
            self._building = None

    def _report(self, category: Category, stage: str, fraction: float) -> None:
        """Note how far the build is. The engine calls this at each step, so a build that is given up ends here."""
        with self._changed:
            if self._stopping or not self._turns.is_wanted(category):
                raise _StoppedError
            if self._building is not None:
                key, status = self._building
                self._building = (key, replace(status, stage=stage, progress=min(1.0, max(0.0, fraction))))
