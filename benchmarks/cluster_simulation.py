"""Does the closed formula of `ovdiff plan` hold? The same cluster played event by event, and both laid side by side.

    python -m benchmarks.cluster_simulation --out benchmarks/results/cluster_simulation.json   # the grid; 5 minutes

Played are nodes with a network, cores and GPUs; one storage with a bandwidth and a limit of requests; batches of images
that are fetched, decoded, computed and encoded, with bounded queues between the steps; batches whose seconds differ;
GPUs that are slow; and nodes that fail, lose what they have in hand, and come back after a repair. The formula knows
means alone. The figure of a setting is the mean over its seeds.
"""

import argparse
import json
import math
import random
import statistics
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import simpy

from benchmarks.spreads import markdown_table, write_results
from ovdiff.planning import Assumptions
from ovdiff.planning.throughput import Load, duration, nodes_of

FAST = Load(
    images=0,
    categories=0,
    category_s=22.0,
    device_s=0.05,
    before_s=0.003,
    after_s=0.003,
    bytes_in=153_000,
    bytes_out=38_000,
    weights=2.9e9,
)
"""Near the preset `fast` on an H100, as `ovdiff plan` extrapolates it."""

Event = Generator[simpy.Event, Any, None]
_BITS = 8


@dataclass(frozen=True)
class Setting:
    """One row of the grid: its name, what is done, on how many GPUs, and in what cluster."""

    name: str
    load: Load
    gpus: int
    assumed: Assumptions


@dataclass(frozen=True)
class Played:
    """What a simulation came to: seconds of both phases, and how often a node failed."""

    categories_s: float
    images_s: float
    failures: int


class Cluster:
    """A cluster that does one phase after the other. Time is in seconds."""

    def __init__(self, setting: Setting, seed: int) -> None:
        """Set up nodes and the storage."""
        self.env, self.random = simpy.Environment(), random.Random(seed)
        self.load, self.assumed = setting.load, setting.assumed
        self.failures = 0
        self.stored = simpy.Resource(self.env)  # one transfer after the other has the same mean as all at once
        self.asked = simpy.Resource(self.env)
        left, self.nodes = setting.gpus, list[Node]()
        for _ in range(nodes_of(setting.gpus, setting.assumed)):
            held = int(min(left, setting.assumed.gpus_per_node))
            self.nodes.append(Node(self, held))
            left -= held

    def play(self) -> Played:
        """Build all categories, then label all images."""
        for node in self.nodes:
            self.env.process(node.failing())
        between = self._run(_portions(self.load.categories, 1), "category")
        ended = self._run(_portions(self.load.images, int(self.assumed.batch_images)), "images")
        return Played(between, ended - between, self.failures)

    def _run(self, portions: deque[int], what: str) -> float:
        self.portions, self.left, self.done = portions, len(portions), self.env.event()
        if not self.left:
            return float(self.env.now)
        for node in self.nodes:
            node.begin(what)
        self.env.run(until=self.done)
        return float(self.env.now)

    def finished(self) -> None:
        """Count a portion that is done."""
        self.left -= 1
        if not self.left:
            self.done.succeed()

    def seconds(self, mean: float) -> float:
        """Return the seconds of a batch: they differ as the images do, lognormally."""
        spread = self.assumed.batch_spread
        if not spread or not mean:
            return mean
        sigma = math.sqrt(math.log(1 + spread**2))
        return mean * self.random.lognormvariate(-sigma * sigma / 2, sigma)


class Node:
    """A machine with GPUs, cores and a network. While it is away nothing on it goes on, and its batches are others'."""

    def __init__(self, cluster: Cluster, gpus: int) -> None:
        """Have all GPUs, some of them slow."""
        self.cluster, self.env, assumed = cluster, cluster.env, cluster.assumed
        self.gpus = gpus
        self.slow = [assumed.slow_factor if cluster.random.random() < assumed.slow_share else 1.0 for _ in range(gpus)]
        self.network = simpy.Resource(self.env)
        self.cores = simpy.Resource(self.env, max(1, round(gpus * assumed.cores_per_gpu)))
        self.work: list[simpy.Process] = []
        self.in_hand: list[int] = []
        self.away = False

    def begin(self, what: str) -> None:
        """End the workers of the phase before and start those of this one; a node that is away does so later."""
        self._stop()
        self.what = what
        if self.away:
            return
        if what == "category":
            self.work = [self.env.process(self._builds(slow)) for slow in self.slow]
            return
        ahead = max(1, round(self.gpus * self.cluster.assumed.ahead))
        self.decoded, self.computed = (simpy.Store(self.env, ahead) for _ in range(2))
        fetching = [self.env.process(self._fetches()) for _ in range(self.gpus + ahead)]
        computing = [self.env.process(self._computes(slow)) for slow in self.slow]
        encoding = [self.env.process(self._encodes()) for _ in range(self.gpus + ahead)]
        self.work = fetching + computing + encoding

    def failing(self) -> Event:
        """Fail now and then: every GPU may take the node away."""
        assumed = self.cluster.assumed
        rate = self.gpus * assumed.failures_per_s
        while rate:
            yield self.env.timeout(self.cluster.random.expovariate(rate))
            self.cluster.failures += 1
            self.away = True
            self._stop()
            self.cluster.portions.extend(self.in_hand)  # others do them; or this node, when it is back
            self.in_hand = []
            yield self.env.timeout(assumed.repair_minutes * 60)
            self.away = False
            self.network = simpy.Resource(self.env)
            self.cores = simpy.Resource(self.env, self.cores.capacity)
            self.begin(self.what)

    def _stop(self) -> None:
        for process in self.work:
            if process.is_alive:
                process.interrupt()
        self.work = []

    def _next(self) -> Generator[simpy.Event, Any, int]:
        """Take the next portion; where none is left, look again later: a node that fails gives its portions back."""
        while not self.cluster.portions:
            yield self.env.timeout(self.cluster.assumed.repair_minutes or 1)
        portion = self.cluster.portions.popleft()
        self.in_hand.append(portion)
        return portion

    def _end(self, portion: int) -> None:
        self.in_hand.remove(portion)
        self.cluster.finished()

    def _builds(self, slow: float) -> Event:
        try:
            while True:
                portion = yield from self._next()
                yield self.env.timeout(self.cluster.seconds(self.cluster.load.category_s) * slow)
                self._end(portion)
        except simpy.Interrupt:
            return

    def _fetches(self) -> Event:
        cluster, load, assumed = self.cluster, self.cluster.load, self.cluster.assumed
        try:
            while True:
                count = yield from self._next()
                yield from _held(self.env, cluster.asked, count / (assumed.requests_per_s * assumed.prefixes))
                yield from self._moves(count * load.bytes_in)
                yield from _held(self.env, self.cores, cluster.seconds(count * load.before_s))
                yield self.decoded.put(count)
        except simpy.Interrupt:
            return

    def _moves(self, count: float) -> Event:
        assumed = self.cluster.assumed
        yield from _held(self.env, self.cluster.stored, count * _BITS / (assumed.storage_gbit * 1e9))
        yield from _held(self.env, self.network, count * _BITS / (assumed.network_gbit * 1e9))

    def _computes(self, slow: float) -> Event:
        try:
            while True:
                count = yield self.decoded.get()
                yield self.env.timeout(self.cluster.seconds(count * self.cluster.load.device_s) * slow)
                yield self.computed.put(count)
        except simpy.Interrupt:
            return

    def _encodes(self) -> Event:
        load = self.cluster.load
        try:
            while True:
                count = yield self.computed.get()
                yield from _held(self.env, self.cores, self.cluster.seconds(count * load.after_s))
                yield from self._moves(count * load.bytes_out)
                self._end(count)
        except simpy.Interrupt:
            return


def _held(env: simpy.Environment, resource: simpy.Resource, seconds: float) -> Event:
    """Have a resource for some time; an interrupt gives it back."""
    with resource.request() as turn:
        yield turn
        yield env.timeout(seconds)


def _portions(count: float, size: int) -> deque[int]:
    whole, rest = divmod(int(count), size)
    return deque([size] * whole + [rest] * bool(rest))


def grid(images: int = 200_000) -> Iterator[Setting]:
    """Yield the settings: each resource is the bottleneck of some, and failures and stragglers are usual and not."""
    usual, load = Assumptions(start_s=0), replace(FAST, images=images, categories=171, weights=0)
    many = replace(load, images=images * 4)
    for gpus in (1, 8, 64, 256):
        yield Setting(f"{gpus} GPUs", load if gpus < 256 else many, gpus, usual)
    yield Setting("64 GPUs, 0.15 Gbit/s a node", load, 64, replace(usual, network_gbit=0.15))
    yield Setting("64 GPUs, storage of 1 Gbit/s", load, 64, replace(usual, storage_gbit=1))
    yield Setting("64 GPUs, 500 requests/s", load, 64, replace(usual, requests_per_s=500))
    yield Setting("64 GPUs, 1 core each, costly masks", replace(load, after_s=0.1), 64, replace(usual, cores_per_gpu=1))
    yield Setting("64 GPUs, none slow, all batches alike", load, 64, replace(usual, slow_share=0, batch_spread=0))
    yield Setting("64 GPUs, a quarter slow by 3", load, 64, replace(usual, slow_share=0.25, slow_factor=3))
    yield Setting("64 GPUs, batches differ by their mean", load, 64, replace(usual, batch_spread=1))
    rate = usual.failures_per_gpu_hour
    for times in (1000, 10_000):
        yield Setting(f"64 GPUs, failures x {times:,}", many, 64, replace(usual, failures_per_gpu_hour=rate * times))
    yield Setting(
        "16 GPUs in nodes of 1, failures x 1,000",
        load,
        16,
        replace(usual, failures_per_gpu_hour=rate * 1000, gpus_per_node=1),
    )
    yield Setting("64 GPUs, batches of 256", load, 64, replace(usual, batch_images=256))
    yield Setting("8 GPUs, stored encodings", replace(load, bytes_in=10_700_000, before_s=0, device_s=0.01), 8, usual)
    yield Setting("64 GPUs, 512 categories", replace(load, categories=512), 64, usual)
    yield Setting("64 GPUs, categories alone", replace(load, images=0, categories=300), 64, usual)


def compare(setting: Setting, seeds: int) -> dict[str, Any]:
    """Play a setting with several seeds, and lay the formula beside their mean."""
    played = [Cluster(setting, seed).play() for seed in range(seeds)]
    seconds = [each.categories_s + each.images_s for each in played]
    return with_formula(
        setting,
        {
            "setting": setting.name,
            "gpus": setting.gpus,
            "images": setting.load.images,
            "categories": setting.load.categories,
            "simulated_s": statistics.fmean(seconds),
            "spread_s": statistics.stdev(seconds) if seeds > 1 else 0.0,
            "failures": statistics.fmean(each.failures for each in played),
        },
    )


def with_formula(setting: Setting, row: dict[str, Any]) -> dict[str, Any]:
    """Return what was played with what the formula says of it."""
    told = duration(setting.load, setting.gpus, setting.assumed)
    seconds = told.categories_s + told.images_s
    said = {"bottleneck": told.bottleneck, "formula_s": seconds}
    return {**row, **said, "formula_over_simulated": seconds / row["simulated_s"]}


def table(results: Any) -> str:
    """Return the grid as Markdown."""
    head = ["setting", "images", "bottleneck", "simulated, s", "failures", "formula, s", "formula / simulated"]
    rows = [
        [
            row["setting"],
            f"{row['images']:,.0f}",
            row["bottleneck"],
            f"{row['simulated_s']:,.0f} ± {row['spread_s']:,.0f}",
            f"{row['failures']:.1f}",
            f"{row['formula_s']:,.0f}",
            f"{row['formula_over_simulated']:.3f}",
        ]
        for row in results["grid"]
    ]
    worst = max(abs(row["formula_over_simulated"] - 1) for row in results["grid"])
    said = f"*Means over {results['seeds']} seeds, ± the standard deviation. The formula is at most {worst:.1%} off.*"
    return f"{markdown_table(head, rows)}\n\n{said}"


def main() -> None:
    """Play the grid, print it, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000, help="images of most settings (default: 200,000)")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--out", type=Path, help="JSON")
    parser.add_argument(
        "--only", nargs="*", metavar="PART", help="play only settings whose name has it; others stay as --out has them"
    )
    options = parser.parse_args()
    earlier = json.loads(options.out.read_text("utf-8"))["grid"] if options.only is not None else []
    played = {row["setting"]: row for row in earlier}
    results: dict[str, Any] = {"seeds": options.seeds, "grid": []}
    for setting in grid(options.images):
        anew = options.only is None or any(part in setting.name for part in options.only)
        row = compare(setting, options.seeds) if anew else with_formula(setting, played[setting.name])
        results["grid"].append(row)
    print(table(results))
    if options.out:
        write_results(options.out, results)


if __name__ == "__main__":
    main()
