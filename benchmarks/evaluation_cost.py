"""What an evaluation costs beside segmenting alone, and how much memory it takes.

    OMP_NUM_THREADS=1 python -m benchmarks.evaluation_cost --out benchmarks/results/evaluation_cost.json

Drawn scenes of 512 px are segmented alone (read, encoded, labelled) and evaluated, in turns, with the embedded models
and without a cache of encodings. Seconds are of processor time, so other work on the machine hardly counts. Then
``--images`` scenes are evaluated as `ovdiff evaluate` does it, and the resident memory is noted at each tenth. Prints a
Markdown table. Prototypes are kept in runs/bank; making them takes two minutes.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.drawn_world import BANK, Bench
from benchmarks.service_memory import resident_mib
from benchmarks.spreads import markdown_table, write_results
from ovdiff import Engine, load_preset
from ovdiff.evaluation.dataset import Dataset, LabelledImage, Truth
from ovdiff.evaluation.datasets.drawn import CATEGORIES, Scenes
from ovdiff.evaluation.records import Records
from ovdiff.evaluation.run import Protocol, Work, evaluate, evaluate_image, run_identity
from ovdiff.evaluation.sums import totals_of
from ovdiff.vocabulary import Vocabulary

SIZE_PX = 512


def dataset(count: int, *, objects: bool) -> Dataset:
    """Return drawn scenes of 512 px, with their segments and objects or with labels alone."""
    scenes = Scenes("test", 0, count, SIZE_PX)

    def labels_alone(name: str) -> LabelledImage:
        drawn = scenes.draw(name)
        return replace(drawn, truth=Truth(drawn.truth.label_map))

    names = tuple(f"test-{number}" for number in range(count))
    return Dataset("drawn-512", Vocabulary(CATEGORIES), names, scenes.draw if objects else labels_alone)


def segment_alone(engine: Engine, data: Dataset, name: str, *, objects: bool) -> None:
    """Do what an evaluation compares, and no more."""
    image = data.read(name).image
    found = engine.label(engine.encode(image), data.vocabulary)
    if objects:
        list(engine.with_instances(image, found, data.vocabulary).objects())


def in_turns(engine: Engine, count: int, *, objects: bool) -> dict[str, float]:
    """Return the processor seconds of segmenting and of evaluating an image, and the ratio of the two."""
    data = dataset(count + 1, objects=objects)
    ways: dict[str, Callable[[str], Any]] = {
        "segmenting": lambda name: segment_alone(engine, data, name, objects=objects),
        "evaluating": lambda name: evaluate_image(engine, data, name, 0, Protocol()),
    }
    seconds = dict.fromkeys(ways, 0.0)
    for number, name in enumerate(data.images):
        for way in sorted(ways, reverse=bool(number % 2)):
            begun = time.process_time()
            ways[way](name)
            if number:  # the first call is slower
                seconds[way] += time.process_time() - begun
    means = {way: total / count for way, total in seconds.items()}
    return {**means, "speed": means["segmenting"] / means["evaluating"]}


def memory(engine: Engine, count: int, folder: Path, tell: Callable[[str], None]) -> list[float]:
    """Evaluate scenes with their objects; return the resident memory in MiB at each tenth, and after the figures."""
    data, protocol, noted = dataset(count, objects=True), Protocol(), list[float]()
    done = 0

    def report(_image: str, _failure: object) -> None:
        nonlocal done
        done += 1
        if done % max(1, count // 10) == 0:
            noted.append(resident_mib(os.getpid()))
            tell(f"{done} of {count} images: {noted[-1]:.0f} MiB")

    with Records(folder, run_identity(engine, data, protocol)) as records:
        evaluate(Work(lambda: engine, lambda: data, protocol), data.images, records, report)
        totals_of(records.figures(data.images), data.vocabulary.categories)
    return [*noted, resident_mib(os.getpid())]


def main(words: Sequence[str] | None = None, write: Callable[[str], None] = print) -> None:
    """Measure, print the table, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=1000, help="scenes whose memory is looked at")
    parser.add_argument("--turns", type=int, default=40, help="scenes that are segmented and evaluated in turns")
    parser.add_argument("--bank", type=Path, default=BANK)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    bench = Bench(load_preset("tinyworld"), 42, options.bank)
    uncached = bench.engine({"cache": {"features_mib": 0}})
    rows = {
        "labels": in_turns(uncached, options.turns, objects=False),
        "labels, segments and objects": in_turns(uncached, options.turns, objects=True),
    }
    with tempfile.TemporaryDirectory() as folder:
        noted = memory(bench.engine(), options.images, Path(folder) / "out", write)
    memory_mib = {"images": options.images, "at_each_tenth": noted[:-1], "after_the_figures": noted[-1]}
    machine = f"{platform.machine()}, one thread, torch {torch.__version__}"
    results = {"machine": machine, "speed": rows, "memory_mib": memory_mib}
    write(table(results))
    if options.out:
        write_results(options.out, results)


def table(results: Mapping[str, Any]) -> str:
    """Return the Markdown table of both comparisons, and a sentence about memory."""
    columns = ("segmenting", "evaluating", "speed")
    cells = [[name, *(f"{row[column]:.3f}" for column in columns)] for name, row in results["speed"].items()]
    memory_mib = results["memory_mib"]
    tenths = ", ".join(f"{mib:.0f}" for mib in memory_mib["at_each_tenth"])
    return (
        f"{markdown_table(('compared', 'segmenting, s', 'evaluating, s', 'speed'), cells)}\n\n"
        f"*Processor seconds an image of {SIZE_PX} px, and how quick evaluating is beside segmenting "
        f"({results['machine']}). Resident memory at each tenth of {memory_mib['images']} images: {tenths} MiB.*"
    )


if __name__ == "__main__":
    main()
