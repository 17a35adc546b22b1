"""The closed formula: how long a load takes on a cluster, and what it waits for.

::

    images a second = the least of what GPUs, cores, node networks, the storage's bandwidth and its requests allow
    seconds = start + categories + images / images a second + filling and emptying the pipeline

GPUs take the next batch when they are free, so a slow one does less and nobody waits for it but at the end. A failure
takes a node away until it is repaired; what it had in hand is done by others. `python -m benchmarks.cluster_simulation`
plays the same cluster event by event and lays both side by side.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from ovdiff.planning.assumptions import Assumptions

_BITS = 8
_SECONDS_PER_MINUTE = 60
_NORMAL = NormalDist()
_GUMBEL_MEAN = 0.57
_HALVINGS = 60
_ROUNDS = 4


@dataclass(frozen=True)
class Load:
    """What is to be done, in seconds of one device or core and in bytes; of one category and of one image.

    Attributes:
        images: how many.
        categories: how many are built before.
        category_s: device seconds of a category, those on a core included: a worker does one after the other.
        device_s: device seconds of an image.
        before_s: core seconds before the device: fetching, decoding.
        after_s: core seconds after the device: encoding masks.
        bytes_in: that an image reads from the storage.
        bytes_out: that an image writes there.
        weights: bytes that a node reads once.
    """

    images: float
    categories: float
    category_s: float
    device_s: float
    before_s: float
    after_s: float
    bytes_in: float
    bytes_out: float
    weights: float


@dataclass(frozen=True)
class Duration:
    """How long a load takes.

    Attributes:
        gpus: how many devices.
        start_s: until the first worker works.
        categories_s: until all categories are built.
        images_s: from then until all images are labelled.
        images_per_s: of the steady state.
        bottleneck: what it waits for then.
        capacities: images a second that each resource allows.
    """

    gpus: int
    start_s: float
    categories_s: float
    images_s: float
    images_per_s: float
    bottleneck: str
    capacities: dict[str, float]

    @property
    def seconds(self) -> float:
        """Return the seconds from the first machine's start to the last mask."""
        return self.start_s + self.categories_s + self.images_s

    @property
    def gpu_hours(self) -> float:
        """Return the hours of all devices, idle ones included."""
        return self.gpus * self.seconds / 3600


def nodes_of(gpus: int, assumed: Assumptions) -> int:
    """Return how many nodes hold so many GPUs."""
    return math.ceil(gpus / assumed.gpus_per_node)


def availability(gpus: int, assumed: Assumptions, run_s: float = math.inf) -> float:
    """Return the share of a run for which a GPU's node is there: one of the node's GPUs may have failed.

    Where a run is shorter than a repair, a node that fails does not come back. A cluster of one node waits for the
    repair in any case.
    """
    on_node, repair_s = min(gpus, assumed.gpus_per_node), assumed.repair_minutes * _SECONDS_PER_MINUTE
    rate = on_node * assumed.failures_per_s
    if nodes_of(gpus, assumed) > 1 and rate * run_s > 0 and run_s < repair_s:
        return -math.expm1(-rate * run_s) / (rate * run_s)
    away_s = repair_s * (1 - repair_s / (2 * run_s)) if nodes_of(gpus, assumed) > 1 else repair_s
    return 1 / (1 + rate * away_s)


def capacities(load: Load, gpus: int, assumed: Assumptions, there: float) -> dict[str, float]:
    """Return the images a second that each resource of a cluster allows, slow GPUs counted.

    Args:
        load: what is to be done.
        gpus: on how many.
        assumed: the cluster.
        there: the share of the time for which a node is there (:func:`availability`).
    """
    moved = load.bytes_in + load.bytes_out
    nodes, cores = nodes_of(gpus, assumed), gpus * assumed.cores_per_gpu
    core_s = load.before_s + load.after_s
    return {
        "devices": _rate(gpus * there * assumed.mean_speed, load.device_s),
        "CPU cores": _rate(cores * there, core_s),
        "networks of the nodes": _rate(nodes * there * assumed.network_gbit * 1e9 / _BITS, moved),
        "bandwidth of the storage": _rate(assumed.storage_gbit * 1e9 / _BITS, moved),
        "requests of the storage": assumed.requests_per_s * assumed.prefixes,
    }


def duration(load: Load, gpus: int, assumed: Assumptions) -> Duration:
    """Return how long a load takes on so many GPUs."""
    found = _duration(load, gpus, assumed, 1.0)
    for _ in range(_ROUNDS):  # how often nodes fail depends on how long the run takes
        found = _duration(load, gpus, assumed, availability(gpus, assumed, found.seconds))
    return found


def _duration(load: Load, gpus: int, assumed: Assumptions, there: float) -> Duration:
    each = capacities(load, gpus, assumed, there)
    bottleneck = min(each, key=lambda name: each[name])
    rate = each[bottleneck]
    return Duration(
        gpus=gpus,
        start_s=_start_s(load, gpus, assumed),
        categories_s=_categories_s(load, gpus, assumed) / there,
        images_s=_images_s(load, gpus, rate, assumed),
        images_per_s=rate,
        bottleneck=bottleneck,
        capacities=each,
    )


def most_useful_gpus(load: Load, gpus: int, assumed: Assumptions) -> int:
    """Return how many of the GPUs are busy when something else is the bottleneck: more of them bring nothing."""
    each = capacities(load, gpus, assumed, availability(gpus, assumed))
    return max(1, math.ceil(gpus * min(each.values()) / each["devices"]))


def _rate(capacity: float, each: float) -> float:
    return capacity / each if each else math.inf


def _start_s(load: Load, gpus: int, assumed: Assumptions) -> float:
    """Return the seconds until workers have started and nodes have read the weights, all at once."""
    on_node = load.weights * _BITS / (assumed.network_gbit * 1e9)
    from_storage = nodes_of(gpus, assumed) * load.weights * _BITS / (assumed.storage_gbit * 1e9)
    return assumed.start_s + max(on_node, from_storage)


def _categories_s(load: Load, gpus: int, assumed: Assumptions) -> float:
    """Return the seconds until all categories are built, each by one GPU, the next one by whichever is free.

    The longer of two: the turns that are needed when all take equally long, and the time until none is left to begin
    with the longest of those that are then in hand.
    """
    if not load.categories:
        return 0.0
    in_hand = min(gpus, load.categories)
    turns = math.ceil(load.categories / gpus)
    until_last = (load.categories - in_hand) / (gpus * assumed.mean_speed)
    return load.category_s * max(turns, until_last + longest(in_hand, assumed))


def _images_s(load: Load, gpus: int, rate: float, assumed: Assumptions) -> float:
    """Return the seconds for all images: the steady state, and a batch that passes alone at both ends."""
    if not load.images:
        return 0.0
    batch = min(assumed.batch_images, load.images)
    in_hand = min(gpus, math.ceil(load.images / batch))
    on_node = min(in_hand, assumed.gpus_per_node)
    fetched = max(
        on_node * batch * load.bytes_in * _BITS / (assumed.network_gbit * 1e9),
        in_hand * batch * load.bytes_in * _BITS / (assumed.storage_gbit * 1e9),
        in_hand * batch / (assumed.requests_per_s * assumed.prefixes),
    )
    filling = fetched + batch * load.before_s
    steady = max(0.0, load.images - in_hand * batch) / rate
    turns = math.ceil(math.ceil(load.images / batch) / gpus)
    on_devices = max(steady + batch * load.device_s * longest(in_hand, assumed), turns * batch * load.device_s)
    return filling + on_devices + batch * load.after_s


def longest(count: float, assumed: Assumptions) -> float:
    """Return how long the longest of so many batches takes beside a usual one, some GPUs being slow.

    Seconds of batches are lognormal. The mean of the longest of n lies near the quantile 0.57 ** (1 / n), as that of
    extreme values does; a single batch takes its mean.
    """
    if count <= 1:
        return 1 / assumed.mean_speed
    sigma = math.sqrt(math.log(1 + assumed.batch_spread**2))
    wanted = _GUMBEL_MEAN ** (1 / count)
    low, high = 0.0, assumed.slow_factor * math.exp(10 * sigma) + 1
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _share_below(middle, sigma, assumed) < wanted else (low, middle)
    return high


def _share_below(factor: float, sigma: float, assumed: Assumptions) -> float:
    """Return the share of batches that take less than a multiple of the mean of a usual GPU's."""

    def below(slow: float) -> float:
        if not sigma:
            return float(factor >= slow)
        return _NORMAL.cdf((math.log(factor / slow) + sigma * sigma / 2) / sigma) if factor > 0 else 0.0

    return (1 - assumed.slow_share) * below(1.0) + assumed.slow_share * below(assumed.slow_factor)
