"""How far builds on other machines are: an actor without a processor, which workers tell and the caller asks.

Tested by tests/ovdiff/distributed/test_building.py.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from ovdiff.distributed.cluster import Cluster
from ovdiff.distributed.engine_worker import Board
from ovdiff.vocabulary import Category

_ANSWER_S = 5.0


class Notes:
    """The actor's own class: the last stage of each build, and the builds that are not wanted any more.

    A build is known by its category and not by the name alone: two projects may mean different things by one name.
    """

    def __init__(self) -> None:
        """Know of nothing."""
        self._stages: dict[Category, tuple[str, float]] = {}
        self._given_up: set[Category] = set()

    def note(self, category: Category, stage: str, fraction: float) -> bool:
        """Note a stage and the fraction done; return whether to go on."""
        self._stages[category] = stage, fraction
        return category not in self._given_up

    def give_up(self, category: Category) -> None:
        """Have a build end at its next stage."""
        self._given_up.add(category)

    def begin(self, category: Category) -> None:
        """Forget what is known of a build."""
        self._given_up.discard(category)
        self._stages.pop(category, None)

    def stages(self) -> dict[Category, tuple[str, float]]:
        """Return the last stage and fraction of each build."""
        return dict(self._stages)


class RayBoard(Board):
    """The actor as both sides see it; without it builds go on and nobody knows how far they are."""

    def __init__(self, actor: Any) -> None:
        """Take the actor's handle."""
        self._actor = actor

    def note(self, category: Category, stage: str, fraction: float) -> bool:
        """Note a stage and the fraction done; return whether to go on."""
        return bool(self._asked("note", True, category, stage, fraction))

    def give_up(self, category: Category) -> None:
        """Have a build end at its next stage."""
        self._asked("give_up", None, category)

    def begin(self, category: Category) -> None:
        """Forget what is known of a build."""
        self._asked("begin", None, category)

    def stages(self) -> dict[Category, tuple[str, float]]:
        """Return the last stage and fraction of each build."""
        found: dict[Category, tuple[str, float]] = self._asked("stages", {})
        return found

    def _asked(self, method: str, otherwise: Any, *given: Any) -> Any:
        import ray

        try:
            with self._reached() as actor:
                if actor is None:
                    return otherwise
                answer = getattr(actor, method).remote(*given).future()
            return answer.result(_ANSWER_S)
        except (ray.exceptions.RayError, TimeoutError):
            return otherwise

    def _reached(self) -> AbstractContextManager[Any]:
        return nullcontext(self._actor)


class BoardOfCaller(RayBoard):
    """The caller's side, whose actor starts anew with each connection to the cluster; what it told before is gone."""

    def __init__(self, cluster: Cluster, start: Callable[[], Any]) -> None:
        """Take the cluster, and what starts the actor there."""
        self._cluster, self._start, self._connection = cluster, start, 0
        super().__init__(None)

    def __reduce__(self) -> tuple[type[RayBoard], tuple[Any]]:
        """Become the bare actor's handle on another machine."""
        with self._reached() as actor:
            return RayBoard, (actor,)

    @contextmanager
    def _reached(self) -> Iterator[Any]:
        """Yield the actor of this connection; None while there is none."""
        with self._cluster.lock:
            if self._cluster.is_joined and self._connection != self._cluster.number:
                self._connection, self._actor = self._cluster.number, self._start()
            yield self._actor if self._cluster.is_joined else None


def board_on_cluster(cluster: Cluster) -> RayBoard:
    """Return a board whose actor runs beside the caller, whose end it shares."""
    return BoardOfCaller(cluster, _started)


def _started() -> Any:
    import ray

    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=True
    )
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Notes).remote()
