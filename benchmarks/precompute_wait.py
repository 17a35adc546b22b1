"""How long a request waits for the standing of its categories, with many projects beside one project alone.

    python -m benchmarks.precompute_wait [--projects 30] [--categories 171] [--requests 20]

Takes about half a minute. The bank is a real folder and the keys are those of a real preset; a build is a short sleep,
so the worker is as busy with looking as it can be. A request does what /setup and /predict do: it states what its
project wants, and asks for the standing of these categories. The peer is the same request, in the same run, on a
service that has this project alone. *After a restart* the bank has every set, and none was verified yet. *While
building* it lacks those of one other project, the one that spoke longest ago. Timings are those of the machine; the
ratio is what travels.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.serving.preparing.precompute import Precompute
from ovdiff.bank import Bank
from ovdiff.bank.card import Card
from ovdiff.bank.prototypes import FeatureSpacePrototypes, Prototypes, PrototypeSet
from ovdiff.bank.recipe import Recipes
from ovdiff.engines.contract import Progress
from ovdiff.presets import load_preset
from ovdiff.vocabulary import Category

BUILD_S = 0.005
PAUSE_S = 0.02
MOST_S = 60.0
TEMPLATE = "0" * 64


class SleepingBuilder:
    """Builds a set by a sleep and a copy; the bank and the keys are real."""

    def __init__(self, folder: Path) -> None:
        """Store the set that is copied."""
        self._bank, self._recipes = Bank(folder), Recipes(load_preset("tinyworld"))
        rows = Prototypes(np.ones((64, 128), np.float32), np.zeros(64, np.uint8), np.full(64, -1, np.int32))
        prototypes = PrototypeSet({"clip": FeatureSpacePrototypes(rows, rows)})
        self._bank.save(TEMPLATE, prototypes, Card("template", "tinyworld"))

    def category_key(self, category: Category) -> str:
        """Return the key that the preset gives the category."""
        return self._recipes.prototypes(category).key

    def has(self, category: Category) -> bool:
        """Ask the bank."""
        return self._bank.has(self.category_key(category))

    def build(self, category: Category, progress: Progress | None = None) -> None:
        """Sleep, then store the set."""
        time.sleep(BUILD_S)
        self.store(category)

    def store(self, category: Category) -> None:
        """Store the set of a category at once."""
        for suffix in (".safetensors", ".json"):
            source = self._bank.folder / f"{TEMPLATE}{suffix}"
            shutil.copyfile(source, self._bank.folder / f"{self.category_key(category)}{suffix}")


@dataclass(frozen=True)
class Waits:
    """The median and the longest wait of a request, in seconds."""

    median_s: float
    longest_s: float


def measure(projects: int, categories: int, requests: int, *, building: bool) -> Waits:
    """Time the requests of the first project, while the worker looks after all projects.

    Args:
        projects: how many projects there are; no two have a category in common.
        categories: how many categories each project has.
        requests: how many requests are timed; fewer if they take longer than a minute together.
        building: whether the bank lacks the sets of the second project.
    """
    wanted = [[Category(f"{label} of {number}") for label in range(categories)] for number in range(projects)]
    with tempfile.TemporaryDirectory() as folder:
        builder = SleepingBuilder(Path(folder))
        for number, own in enumerate(wanted):
            for category in own if not (building and number == 1) else ():
                builder.store(category)
        precompute = Precompute(builder, retry_failed_after_s=300.0)
        for number, own in sorted(enumerate(wanted), key=lambda each: each[0] != 1):
            precompute.want(str(number), own)
        precompute.start()
        try:
            return _time_requests(precompute, wanted[0], requests)
        finally:
            precompute.stop(timeout_s=60.0)


def _time_requests(precompute: Precompute, categories: Sequence[Category], requests: int) -> Waits:
    waits_s: list[float] = []
    while len(waits_s) < requests and sum(waits_s) < MOST_S:
        begun_s = time.perf_counter()
        precompute.want("0", categories)
        precompute.standing(categories)
        waits_s.append(time.perf_counter() - begun_s)
        time.sleep(PAUSE_S)
    return Waits(statistics.median(waits_s), max(waits_s))


def main() -> None:
    """Measure both states of the bank and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--projects", type=int, default=30)
    parser.add_argument("--categories", type=int, default=171, help="of each project")
    parser.add_argument("--requests", type=int, default=20, help="requests to take the median of")
    options = parser.parse_args()
    print(
        f"| bank | one project: median, longest (ms) | {options.projects} projects: median, longest (ms) | ratio |\n"
        "|---|---|---|---|"
    )
    for name, building in (("after a restart", False), ("while building", True)):
        alone = measure(1, options.categories, options.requests, building=building)
        many = measure(options.projects, options.categories, options.requests, building=building)
        cells = [f"{waits.median_s * 1e3:.1f}, {waits.longest_s * 1e3:.1f}" for waits in (alone, many)]
        print(f"| {name} | {cells[0]} | {cells[1]} | {many.median_s / alone.median_s:.1f} |")


if __name__ == "__main__":
    main()
