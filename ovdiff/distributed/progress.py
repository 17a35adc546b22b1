"""How far builds on other machines are: an actor without a processor, which workers tell and the caller asks.

Tested by tests/ovdiff/distributed/test_building.py.
"""

from typing import Any

from ovdiff.distributed.engine_worker import Board


class Notes:
    """The actor's own class: the last stage of each build, and the builds that are not wanted any more."""

    def __init__(self) -> None:
        """Know of nothing."""
        self._stages: dict[str, tuple[str, float]] = {}
        self._given_up: set[str] = set()

    def note(self, name: str, stage: str, fraction: float) -> bool:
        """Note a stage and the fraction done; return whether to go on."""
        self._stages[name] = stage, fraction
        return name not in self._given_up

    def give_up(self, name: str) -> None:
        """Have a build end at its next stage."""
        self._given_up.add(name)

    def begin(self, name: str) -> None:
        """Forget what is known of a build."""
        self._given_up.discard(name)
        self._stages.pop(name, None)

    def stages(self) -> dict[str, tuple[str, float]]:
        """Return the last stage and fraction of each build."""
        return dict(self._stages)


class RayBoard(Board):
    """The actor as both sides see it; without it builds go on and nobody knows how far they are."""

    def __init__(self, actor: Any) -> None:
        """Take the actor's handle, which other machines get, too."""
        self._actor = actor

    def note(self, name: str, stage: str, fraction: float) -> bool:
        """Note a stage and the fraction done; return whether to go on."""
        return bool(self._asked(self._actor.note, True, name, stage, fraction))

    def give_up(self, name: str) -> None:
        """Have a build end at its next stage."""
        self._asked(self._actor.give_up, None, name)

    def begin(self, name: str) -> None:
        """Forget what is known of a build."""
        self._asked(self._actor.begin, None, name)

    def stages(self) -> dict[str, tuple[str, float]]:
        """Return the last stage and fraction of each build."""
        found: dict[str, tuple[str, float]] = self._asked(self._actor.stages, {})
        return found

    @staticmethod
    def _asked(method: Any, otherwise: Any, *given: Any) -> Any:
        import ray

        try:
            return ray.get(method.remote(*given), timeout=5)
        except ray.exceptions.RayError:
            return otherwise


def board_on_cluster() -> RayBoard:
    """Start the actor beside the caller, whose end it shares."""
    import ray

    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=True
    )
    return RayBoard(ray.remote(num_cpus=0, scheduling_strategy=here)(Notes).remote())
