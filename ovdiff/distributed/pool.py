"""A pool of workers on a Ray cluster that takes work as every executor of Python does.

::

    submit -> waiting -> the worker with the least to do -> done
                 ^                     |
                 +---- worker lost ----+      at most two calls a worker: one runs, one has arrived

Ray Data has actors that hold models, too. It was tried first, and is not used: on two busy processors 200 calls of
20 ms took 42 s with one actor against 8 s here, and the first result came after 32 s against 2 s. It repeats blocks of
rows and not calls, gives the rows of a lost actor to nobody else until that actor is started again, and reads its own
sources and not any iterator. What Ray itself does is used: actors, objects, scheduling, noticing the death of workers
and machines.

A worker that ends gives its calls back, and another one takes its place. A call after which workers ended three times
is given up, so that one hostile image does not end a run. From the second time on it has a worker for itself, so that
no other call is blamed. If the head of the cluster is lost, every call fails with an error that says so.
"""

import contextlib
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ovdiff.distributed import worker
from ovdiff.distributed.cluster import Cluster
from ovdiff.distributed.placement import Placement
from ovdiff.distributed.stages import Stages
from ovdiff.errors import ClusterError

T = TypeVar("T")

MOST_TRIES = 3
"""So often a call is given to a worker; and so many workers may end while they start, without one that started."""
AHEAD = 4
"""So many items a worker are handed out before an earlier result is waited for; their results wait in memory."""
_AT_ONCE = 2
_LOOK_S = 1.0

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Call:
    function: Callable[..., Any]
    given: tuple[Any, ...]
    future: "Future[Any]"
    tries: int = 0

    def is_wanted(self) -> bool:
        """Say whether nobody gave the call up, and let nobody do so from now on."""
        return self.future.running() or self.future.set_running_or_notify_cancel()

    def fail(self, error: BaseException) -> None:
        """End the call with an error, unless it was given up."""
        if self.is_wanted():
            self.future.set_exception(error)


@dataclass(eq=False)
class _Hand:
    """A worker as the pool sees it."""

    actor: Any
    is_ready: bool = False
    calls: list[_Call] = field(default_factory=list)

    def may_take(self, call: _Call) -> bool:
        """Say whether the worker has room for a call; one that was with a lost worker wants a worker for itself."""
        if not self.is_ready or any(each.tries > 1 for each in self.calls):
            return False
        return not self.calls if call.tries else len(self.calls) < _AT_ONCE


@dataclass
class PoolFigures:
    """What a pool did: calls given to workers, repeated ones among them; and workers and heads that were lost."""

    given: int = 0
    repeated: int = 0
    workers_lost: int = 0
    heads_lost: int = 0


class RayPool(Executor):
    """Calls functions on a cluster. Threads may share it; one thread of its own holds all of its state."""

    def __init__(
        self,
        cluster: Cluster,
        placement: Placement,
        initializer: Callable[..., None] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        """Start the workers; this does not wait for them.

        Args:
            cluster: the cluster, which this process is connected to.
            placement: how many workers, and what each holds.
            initializer: makes a worker ready, such as by making an engine; called once in each.
            initargs: its arguments.
        """
        import ray

        self._ray, self._cluster, self._placement = ray, cluster, placement
        self._start, self._folder = (initializer, initargs), str(Path.cwd())
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._waiting: deque[_Call] = deque()
        self._hands: list[_Hand] = []
        self._failed_starts = 0
        self._broken: BaseException | None = None
        self._closing, self._submitting = threading.Event(), threading.Lock()
        self._connection = 0
        self.figures = PoolFigures()
        self._thread = threading.Thread(target=self._serve, name="ovdiff-ray-pool", daemon=True)
        self._thread.start()

    @property
    def workers(self) -> int:
        """How many workers the pool has, those that are still to start included."""
        return self._placement.workers

    @property
    def is_broken(self) -> bool:
        """Whether the cluster was lost, or no worker could start: every call fails then."""
        return self._broken is not None

    def submit(self, function: Callable[..., T], /, *given: Any, **named: Any) -> "Future[T]":
        """Have a function called by a worker; its steps run apart if it is a :class:`Stages` and the placement says so.

        Raises:
            ClusterError: the pool was shut down.
        """
        call = _Call(partial(function, **named) if named else function, given, Future())
        with self._submitting:  # after the pool's thread has ended, nobody would ever do the call
            if self._closing.is_set():
                raise ClusterError("The connection to the Ray cluster was ended. Do the same again: it connects anew.")
            self._events.put(partial(self._waiting.append, call))
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers after their calls; with ``cancel_futures`` calls that did not begin are given up."""
        with self._submitting:
            if cancel_futures:
                self._events.put(self._cancel)
            self._closing.set()
            self._events.put(lambda: None)
        if wait:
            self._thread.join()

    # Everything below runs in the pool's own thread.

    def _serve(self) -> None:
        while not self._closing.is_set() or not self._events.empty() or self._open_calls():
            events = self._events_so_far()
            with self._cluster.lock:
                for step in (*events, self._follow_cluster, self._hand_out):
                    self._do(step)
        with self._cluster.lock:
            self._do(self._end)

    def _do(self, step: Callable[[], None]) -> None:
        """Do a step; if Ray refuses it, every call fails, where nobody would hear of the end of this thread."""
        try:
            step()
        except Exception as error:  # noqa: BLE001 — Ray raises all kinds
            _log.exception("Ray refused what the pool of workers asked for.")
            self._broken = self._broken or ClusterError(f"The Ray cluster refused what was asked for: {error}")
            self._fail_calls()

    def _events_so_far(self) -> list[Callable[[], None]]:
        """Return what happened, as soon as something did, or after a while."""
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._events.get(timeout=_LOOK_S))
            while True:
                found.append(self._events.get_nowait())
        return found

    def _open_calls(self) -> bool:
        return bool(self._waiting) or any(hand.calls for hand in self._hands)

    def _follow_cluster(self, *, at_once: bool = False) -> None:
        """Start the workers of a new connection; take the calls back from those of one that is lost."""
        cluster = self._cluster
        cluster.look(at_once=at_once)
        if cluster.lost is not None:
            if self._broken is None:
                self._take_back()
                self._break(cluster.lost)
        elif self._connection and not (cluster.is_joined and self._connection == cluster.number):
            self._take_back()
        if cluster.is_joined and not self._connection and self._broken is None:
            self._begin()

    def _begin(self) -> None:
        self._connection, self._failed_starts = self._cluster.number, 0
        self._actor = self._ray.remote(
            num_cpus=self._placement.cpus,
            num_gpus=self._placement.gpus,
            max_restarts=0,  # a worker that is lost is replaced here, wherever there is room, not where it was
            max_task_retries=0,
            scheduling_strategy="SPREAD",
            enable_task_events=False,  # the head would keep 3 kB about each call, up to the hundred thousandth
        )(worker.Worker)
        steps = self._ray.remote(num_cpus=1, max_retries=MOST_TRIES, enable_task_events=False)
        self._step = steps(worker.step)
        if self._placement.grows:
            self._ask_autoscaler(self._placement.workers)
        for _ in range(self._placement.workers):
            self._hire()

    def _take_back(self) -> None:
        """Let workers go that nobody can reach; they end by themselves. Their calls are the next ones to be given."""
        if self._connection:
            self.figures.heads_lost += 1
        calls = [call for hand in self._hands for call in hand.calls]
        for hand in self._hands:
            hand.calls = []  # what is still told of them is too late
        self._hands, self._connection = [], 0
        self._waiting.extendleft(reversed(calls))
        for call in self._waiting:
            call.tries = 0  # that workers ended tells nothing about the calls that they had

    def _hire(self) -> None:
        hand = _Hand(self._actor.remote())
        self._hands.append(hand)
        self._watch(hand.actor.start.remote(self._folder, *self._start), self._started, hand)

    def _watch(self, ref: Any, then: Callable[..., None], *given: Any) -> None:
        """Have a method called with the outcome, by the pool's own thread; Ray's thread only notes it."""
        ref.future().add_done_callback(lambda outcome: self._events.put(partial(then, *given, outcome)))

    def _started(self, hand: _Hand, outcome: "Future[Any]") -> None:
        if hand not in self._hands:
            return
        if outcome.exception() is not None:
            self._follow_cluster(at_once=True)
            if hand not in self._hands:
                return
            self._failed_starts += 1
            self._lose(hand)
            if self._failed_starts >= MOST_TRIES and not any(each.is_ready for each in self._hands):
                self._break(
                    ClusterError(
                        f"{self._failed_starts} workers ended while they loaded the models, most likely because a "
                        f"machine's memory was full: {_why(outcome.exception())} Ask for fewer with --ray-workers."
                    )
                )
            else:
                self._hire()
            return
        if isinstance(outcome.result(), worker.Raised):
            self._break(outcome.result().error)
            return
        self._failed_starts, hand.is_ready = 0, True

    def _hand_out(self) -> None:
        while self._waiting:
            call = self._waiting[0]
            takers = [hand for hand in self._hands if hand.may_take(call)]
            if self._broken is not None:
                self._waiting.popleft().fail(self._broken)
            elif not takers:
                return
            else:
                self._give(self._waiting.popleft(), min(takers, key=lambda hand: len(hand.calls)))

    def _give(self, call: _Call, hand: _Hand) -> None:
        again = call.future.running()
        if not call.is_wanted():
            return
        self.figures.given += 1
        self.figures.repeated += again
        call.tries += 1
        hand.calls.append(call)
        try:
            ref = self._sent(call, hand)
        except Exception as error:  # noqa: BLE001 — what cannot be pickled would fail for every worker
            hand.calls.remove(call)
            call.future.set_exception(error)
            return
        self._watch(ref, self._ended, call, hand)

    def _sent(self, call: _Call, hand: _Hand) -> Any:
        function = call.function
        if not (isinstance(function, Stages) and self._placement.stages_apart):
            return hand.actor.run.remote(function, *call.given)
        read = self._step.remote(function.before, self._folder, *call.given)
        return self._step.remote(function.after, self._folder, hand.actor.run.remote(function.run, read))

    def _ended(self, call: _Call, hand: _Hand, outcome: "Future[Any]") -> None:
        if call not in hand.calls:
            return  # the worker was lost, and the call is with another one
        error = outcome.exception()
        if error is None:
            hand.calls.remove(call)
            value = outcome.result()
            if isinstance(value, worker.Raised):
                call.future.set_exception(value.error)
            else:
                call.future.set_result(value)
            return
        self._follow_cluster(at_once=True)
        if call not in hand.calls:
            return  # it was the head that was lost, and all calls were taken back
        if self._is_end_of_worker(error):
            self._lose(hand, error)
            self._hire()
        else:
            hand.calls.remove(call)
            self._again(call, error)

    def _is_end_of_worker(self, error: BaseException) -> bool:
        ended = self._ray.exceptions.RayActorError
        return isinstance(error, ended) or isinstance(getattr(error, "cause", None), ended)

    def _lose(self, hand: _Hand, error: BaseException | None = None) -> None:
        """Dismiss a worker that ended; its calls are the next ones to be given to others."""
        self._hands.remove(hand)
        self._dismiss(hand)
        self.figures.workers_lost += 1
        _log.warning("A worker was lost; its %d calls are given to others. %s", len(hand.calls), _why(error))
        for call in reversed(hand.calls):
            self._again(call, error)
        hand.calls = []

    def _again(self, call: _Call, error: BaseException | None) -> None:
        if call.tries < MOST_TRIES:
            self._waiting.appendleft(call)
            return
        call.future.set_exception(
            ClusterError(
                f"{MOST_TRIES} workers ended one after another while they worked on the same item, most likely because "
                f"a machine's memory was full: {_why(error)}"
            )
        )

    def _break(self, error: BaseException) -> None:
        """Have all calls fail with an error, now and from now on."""
        self._broken = error
        self._fail_calls()
        self._dismiss_all()

    def _fail_calls(self) -> None:
        for hand in self._hands:
            for call in hand.calls:
                call.future.set_exception(self._broken)
            hand.calls = []

    def _cancel(self) -> None:
        while self._waiting:
            call = self._waiting.popleft()
            if call.future.cancel():
                call.future.set_running_or_notify_cancel()  # else whoever is in `wait` for it stays there
            else:
                call.future.set_exception(ClusterError("The work was given up before it was done."))

    def _end(self) -> None:
        self._dismiss_all()
        if self._placement.grows and self._connection:
            self._ask_autoscaler(0)

    def _dismiss_all(self) -> None:
        hands, self._hands = self._hands, []
        for hand in hands:
            self._dismiss(hand)

    def _dismiss(self, hand: _Hand) -> None:
        if self._cluster.is_joined and self._connection == self._cluster.number:
            self._ray.kill(hand.actor)

    def _ask_autoscaler(self, workers: int) -> None:
        """Tell a cluster that can grow how much room is wanted; one that cannot never reads it."""
        from ray.autoscaler import sdk

        each = {"CPU": self._placement.cpus, **({"GPU": self._placement.gpus} if self._placement.gpus else {})}
        sdk.request_resources(None, [each] * workers)


def _why(error: BaseException | None) -> str:
    """Return the first line of an error; what Ray tells of a lost worker fills a screen."""
    return str(error or "").partition("\n")[0]
