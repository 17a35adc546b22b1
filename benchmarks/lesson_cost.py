"""What a lesson costs: processor seconds to take it, and the size of its file, on crowded drawn scenes.

    python -m benchmarks.lesson_cost [--scenes 8 --seed 42 --bank runs/bank --out benchmarks/results/lesson_cost.json]

Takes about ten seconds on one thread if the bank has the prototypes of the 19 words. The truth of each scene is its
annotation. To encode the image and to predict, which `learn` does first, are counted apart. The lessons go to a folder
that is deleted afterwards.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from benchmarks.drawn_world import BANK, CROWDED_FIRST, CROWDED_PX, CROWDED_THINGS, EVERYTHING, Bench, true_labels
from converters.files.atomic import write_whole
from ovdiff.bank.lesson_store import LessonStore
from ovdiff.engine import Engine
from ovdiff.learning.annotation import Annotation
from ovdiff.learning.lesson import sourced, take_lesson
from ovdiff.presets import load_preset
from ovdiff.segmenting.encoding import encode_image
from ovdiff.tinyworld.world import Rendering, render, sample_scene

T = TypeVar("T")
_AFTER_SCENES = 10_000
"""Scenes of this benchmark are numbered so much higher than those on which lessons are judged."""


def cost_of_scene(engine: Engine, scene: Rendering, store: LessonStore) -> dict[str, float]:
    """Return the processor seconds of each step of learning from a scene, and the KiB of the lesson's file."""
    annotation = Annotation(true_labels(scene.label_map, EVERYTHING), EVERYTHING)
    parts = engine._segmenter.parts
    encoded, encode_s = _timed(lambda: encode_image(parts, scene.image))
    found, predict_s = _timed(lambda: engine._segmenter.label(encoded, EVERYTHING, lessons=False))
    stuff = engine._segmenter.kinds.stuff(EVERYTHING)
    address = engine.lesson_address(scene.image, annotation)

    def take() -> None:
        with parts.models.lock:
            lesson = take_lesson(parts, encoded, annotation, found.label_map, stuff)
        store.save(sourced(lesson, address, "", "", lesson.source))

    _, take_s = _timed(take)
    size = (store.folder / f"{address}.safetensors").stat().st_size
    return {"encode_s": encode_s, "predict_s": predict_s, "take_s": take_s, "kib": size / 1024}


def summary(costs: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return the least, the median and the most of each figure."""
    columns = {name: sorted(cost[name] for cost in costs) for name in costs[0]}
    return {
        name: {"least": values[0], "median": statistics.median(values), "most": values[-1]}
        for name, values in columns.items()
    }


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    started_s = time.process_time()
    result = work()
    return result, time.process_time() - started_s


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=42, help="the seed of the support images")
    parser.add_argument("--bank", type=Path, default=BANK)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    engine = Bench(load_preset("tinyworld"), options.seed, options.bank).engine()
    first = CROWDED_FIRST + _AFTER_SCENES
    scenes = [render(sample_scene(first + n, "test", CROWDED_THINGS), CROWDED_PX) for n in range(-1, options.scenes)]
    with tempfile.TemporaryDirectory() as folder:
        costs = [cost_of_scene(engine, scene, LessonStore(folder)) for scene in scenes][
            1:
        ]  # the first one loads models
    found = {"scenes": options.scenes, "seed": options.seed, **summary(costs)}
    for name, values in summary(costs).items():
        print(f"{name:10} " + "  ".join(f"{what} {value:.2f}" for what, value in values.items()))
    if options.out is not None:
        write_whole(options.out, f"{json.dumps(found, indent=2)}\n".encode())


if __name__ == "__main__":
    main()
