"""Where workers run: how many engines, on how much of a processor and of a GPU each. A pure decision, without Ray.

::

    engines on a GPU = floor((memory of the smallest GPU - room of the driver) / (the preset's budget + its reserve))

The budget is the preset's own ``[memory]``, which :mod:`ovdiff.models.memory` holds each process to. So engines that
share a GPU do not push each other out, whatever the cluster is made of.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ovdiff.errors import DeviceError
from ovdiff.presets import Preset

RESERVE_GIB = 1.0
"""What a process takes of a GPU besides its budget: the CUDA context and the workspaces of cuBLAS and cuDNN."""

_STEP = 10_000  # Ray counts ten-thousandths of a resource


@dataclass(frozen=True)
class Node:
    """A machine of a cluster.

    Attributes:
        cpus: how many processors it offers.
        gpus: how many GPUs it offers.
        gpu_gib: the memory of its smallest GPU; 0 if nobody knows.
    """

    cpus: float
    gpus: float = 0.0
    gpu_gib: float = 0.0


@dataclass(frozen=True)
class Need:
    """What one engine needs.

    Attributes:
        device: torch's name of the device, such as cpu or cuda.
        budget_gib: the memory that it may use of the device; 0 if nobody knows, which gives it a GPU of its own.
    """

    device: str = "cpu"
    budget_gib: float = 0.0

    @property
    def wants_gpu(self) -> bool:
        """Whether the engine runs on a GPU."""
        return re.match(r"cpu($|[:+-])", self.device) is None  # A number or options may follow.


@dataclass(frozen=True)
class Wish:
    """What a person asks for instead of what would be decided; ``None`` leaves it to :func:`place`.

    Attributes:
        workers: how many engines.
        cpus: processors of one engine, and so its threads.
        gpus: GPUs of one engine, also a fraction.
    """

    workers: int | None = None
    cpus: float | None = None
    gpus: float | None = None


NO_WISH = Wish()
"""All is left to the decision."""


@dataclass(frozen=True)
class Placement:
    """The decision.

    Attributes:
        workers: how many engines.
        cpus: processors of one engine.
        gpus: GPUs of one engine.
        stages_apart: whether images are fetched and decoded, and masks encoded, by tasks that hold processors alone,
            so that a GPU never waits for them.
        grows: whether the cluster is too small for the wish, so that an autoscaler is asked for more machines.
    """

    workers: int
    cpus: float = 1.0
    gpus: float = 0.0
    stages_apart: bool = False
    grows: bool = False

    @property
    def threads(self) -> int:
        """How many threads torch uses in an engine."""
        return max(1, math.floor(self.cpus))


def segmenting_need(preset: object, device: str) -> Need:
    """Return what an engine needs that segments images.

    Engines that name no budget for all of their work, such as ODISE, get a GPU of their own.
    """
    return Need(device, preset.memory.segment_gib if isinstance(preset, Preset) else 0.0)


def building_need(preset: object, device: str) -> Need:
    """Return what an engine needs that builds categories."""
    return Need(device, preset.memory.build_gib if isinstance(preset, Preset) else 0.0)


def place(need: Need, nodes: Sequence[Node], wish: Wish = NO_WISH) -> Placement:
    """Decide how many engines a cluster gets, and what each of them holds.

    Args:
        need: what one engine needs.
        nodes: the machines of the cluster.
        wish: what a person asked for.

    Raises:
        DeviceError: engines want a GPU, and no machine has one; or the budget is larger than the GPUs.
    """
    cpus = wish.cpus if wish.cpus is not None else 1.0
    gpus = _gpus_each(need, nodes, wish) if need.wants_gpu else 0.0
    fitting = sum(_fitting(node, cpus, gpus) for node in nodes)
    workers = wish.workers if wish.workers is not None else max(1, fitting)
    left = sum(node.cpus for node in nodes) - cpus * min(workers, fitting)
    return Placement(workers, cpus, gpus, stages_apart=gpus > 0 and left >= 1, grows=workers > fitting)


def place_both(segmenting: Need, building: Need, nodes: Sequence[Node], wish: Wish = NO_WISH) -> tuple[Placement, ...]:
    """Decide for a service, whose engines that segment and engines that build run side by side all the time.

    A quarter of the processors builds, or one engine a GPU; a machine of one processor is shared by both.

    Args:
        segmenting: what an engine needs that segments.
        building: what an engine needs that builds.
        nodes: the machines of the cluster.
        wish: what a person asked for, of engines that segment.

    Returns:
        The placement of the engines that segment, and that of those that build.

    Raises:
        DeviceError: the GPUs are too small for both, or there is none.
    """
    if not segmenting.wants_gpu:
        room = place(segmenting, nodes, Wish(cpus=wish.cpus))
        builders = max(1, room.workers // 4)
        segmenters = wish.workers or max(1, room.workers - builders)
        shared = room.workers == 1
        return (
            Placement(segmenters, room.cpus, grows=segmenters + builders > room.workers and not shared),
            Placement(builders, 0.0 if shared else room.cpus),
        )
    alone = place(segmenting, nodes, wish)
    gib = min(node.gpu_gib for node in nodes if node.gpus > 0)
    if not gib or not segmenting.budget_gib or not building.budget_gib:
        share_build, share_segment = 0.5, wish.gpus or 0.5
    else:
        share_build = math.ceil(_STEP * (building.budget_gib + RESERVE_GIB) / gib) / _STEP
        share_segment = wish.gpus or math.ceil(_STEP * (segmenting.budget_gib + RESERVE_GIB) / gib) / _STEP
    beside = math.floor(round((1 - share_build) / share_segment, 6))
    if beside < 1:
        raise DeviceError(
            f"A GPU of {gib:.1f} GiB is too small for an engine that builds ({building.budget_gib:g} GiB) and one that "
            f"segments ({segmenting.budget_gib:g} GiB) side by side. Lower the preset's [memory], or OVDIFF_RAY_GPUS."
        )
    gpus = sum(math.floor(node.gpus) for node in nodes)
    segmenters = wish.workers or beside * gpus
    grows = segmenters > beside * gpus
    return (
        Placement(segmenters, alone.cpus, share_segment, grows=grows),
        Placement(gpus, min(alone.cpus, 1.0), share_build),
    )


def _fitting(node: Node, cpus: float, gpus: float) -> int:
    """Return how many engines a machine has room for; a fraction of a GPU lies on one GPU whole."""
    by_cpu = math.floor(node.cpus / cpus) if cpus > 0 else math.inf
    if gpus == 0:
        by_gpu: float = math.inf
    elif gpus < 1:
        by_gpu = math.floor(node.gpus) * math.floor(1 / gpus)
    else:
        by_gpu = math.floor(node.gpus / gpus)
    fitting = min(by_cpu, by_gpu)
    return 1 if fitting == math.inf else int(fitting)


def _gpus_each(need: Need, nodes: Sequence[Node], wish: Wish) -> float:
    with_gpus = [node for node in nodes if node.gpus > 0]
    if not with_gpus:
        raise DeviceError(
            f"The device is {need.device!r}, and no machine of the cluster offers a GPU. Start one with "
            "`ray start --num-gpus`, or name the device cpu."
        )
    if wish.gpus is not None:
        return wish.gpus
    smallest_gib = min(node.gpu_gib for node in with_gpus)
    if not smallest_gib or not need.budget_gib:
        return 1.0
    engines = math.floor(smallest_gib / (need.budget_gib + RESERVE_GIB))
    if engines < 1:
        raise DeviceError(
            f"The preset may use {need.budget_gib:g} GiB of a GPU, and the smallest one of the cluster has "
            f"{smallest_gib:.1f} GiB. Lower the preset's [memory], or name the share of a GPU for each engine with "
            "--ray-gpus."
        )
    return math.floor(_STEP / engines) / _STEP
