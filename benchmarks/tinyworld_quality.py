"""Segmentation quality of the embedded models on drawn test scenes, with the method's ablations.

Command: ``python -m benchmarks.tinyworld_quality --out benchmarks/results/tinyworld_quality.json``; it prints a
Markdown table. Thresholds are chosen on the world's ``thresholds`` split, everything else is measured on ``test``.
The figures say that the code path works; they are no evidence for the paper's claims (see ovdiff/tinyworld).
"""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.drawn_world import (
    BANK,
    EVERYTHING,
    PREFILTER,
    PUBLISHED,
    SEEDS,
    THINGS_ONLY,
    Bench,
    Changes,
    Scenes,
    encode_scenes,
    vary,
    with_changes,
)
from benchmarks.spreads import markdown_table, spread_text, write_results
from converters.metrics.confusion import confusion_matrix, mean_iou
from ovdiff import Bank, Engine, Segmentation, Vocabulary, load_preset

EXTRACTOR_SETS = {
    "SD": ("stable_diffusion",),
    "CLIP": ("clip",),
    "DINO": ("dino",),
    "SD + CLIP": ("stable_diffusion", "clip"),
    "SD + DINO + CLIP": ("stable_diffusion", "dino", "clip"),
}

WITHOUT: Mapping[str, Changes] = {
    "no prefilter": {"prefilter": {"enabled": False}},
    "class prototypes only": {"matching": {"kinds": ("class",)}},
    "no stuff filter": {"stuff_filter": {"enabled": False}},
}
COLUMNS = ("things", "all 19", "things, preset", "all 19, preset")


def miou(vocabulary: Vocabulary, truths: Iterable[NDArray[Any]], predicted: Iterable[NDArray[Any]]) -> float:
    """Return the mIoU over background and categories, intersections and unions summed over all scenes."""
    count = len(vocabulary.categories)
    return mean_iou(sum(confusion_matrix(t, p, count) for t, p in zip(truths, predicted, strict=True)))  # type: ignore[arg-type]


def label_all(engine: Engine, scenes: Scenes, vocabulary: Vocabulary) -> list[Segmentation]:
    """Label each scene with one vocabulary."""
    return [engine.label(encoded, vocabulary) for encoded in scenes.encoded]


def score(bench: Bench, scenes: Scenes, vocabulary: Vocabulary, extractors: Sequence[str], changes: Changes) -> float:
    """Return the mIoU of a variant of the preset."""
    voters = with_changes({"matching": {"extractors": tuple(extractors)}}, changes)
    found = label_all(bench.engine(voters), scenes, vocabulary)
    return miou(vocabulary, scenes.truths(vocabulary), [each.label_map for each in found])


def without_background(
    bench: Bench, chosen_on: Scenes, scenes: Scenes, vocabulary: Vocabulary, extractors: Sequence[str]
) -> tuple[float, float]:
    """Return the mIoU with a threshold in place of background prototypes, and the threshold chosen."""
    matching = {"extractors": extractors, "background": "threshold", "background_threshold": -1.0}
    engine = bench.engine({"matching": matching, **PUBLISHED})

    def at(threshold: float, some: Scenes, found: list[Segmentation]) -> float:
        maps = [np.where(s.scores < threshold, 0, s.label_map) for s in found]
        return miou(vocabulary, some.truths(vocabulary), maps)

    found = label_all(engine, chosen_on, vocabulary)
    best = max(np.linspace(0.3, 0.98, 35).tolist(), key=lambda threshold: at(threshold, chosen_on, found))
    return at(best, scenes, label_all(engine, scenes, vocabulary)), best


def measure(bench: Bench, chosen_on: Scenes, scenes: Scenes) -> dict[str, float]:
    """Return every row of the table for one seed: of the published method, and of the preset where the name says so."""
    sd = EXTRACTOR_SETS["SD"]
    rows: dict[str, float] = {}
    for prefix, vocabulary in (("things", THINGS_ONLY), ("all 19", EVERYTHING)):
        for name, extractors in EXTRACTOR_SETS.items():
            rows[f"{prefix}: {name}"] = score(bench, scenes, vocabulary, extractors, PUBLISHED)
            rows[f"{prefix}, preset: {name}"] = score(bench, scenes, vocabulary, extractors, {})
        best, threshold = without_background(bench, chosen_on, scenes, vocabulary, sd)
        rows[f"{prefix}: SD, no background prototypes"] = best
        rows[f"{prefix}: SD, no background prototypes: threshold"] = threshold
        for name, changes in WITHOUT.items():
            rows[f"{prefix}: SD, {name}"] = score(bench, scenes, vocabulary, sd, with_changes(PUBLISHED, changes))
    return rows


def table(by_seed: Mapping[Any, Mapping[str, float]]) -> str:
    """Return a Markdown table of the mIoU, mean and spread over the seeds; a dash where nothing was measured."""
    seeds = list(by_seed.values())
    names = dict.fromkeys(row.partition(": ")[2] for row in seeds[0] if not row.endswith(": threshold"))
    lines = [
        [name, *(spread_text([seed.get(f"{column}: {name}") for seed in seeds]) for column in COLUMNS)]
        for name in names
    ]
    return markdown_table(("", *COLUMNS), lines)


def main(write: Callable[[str], None] = print) -> None:
    """Measure, print the table, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--preset", default="tinyworld")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--threshold-scenes", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--bank", type=Path, default=BANK, help="where prototypes are kept")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    preset = load_preset(options.preset)
    voters = {"extractors": EXTRACTOR_SETS["SD + DINO + CLIP"]}
    encoder = Engine(vary(preset, matching=voters, **PREFILTER), Bank(options.bank))
    chosen_on = encode_scenes(encoder, "thresholds", range(options.threshold_scenes))
    scenes = encode_scenes(encoder, "test", range(options.scenes))
    by_seed = {}
    for seed in options.seeds:
        by_seed[seed] = measure(Bench(preset, seed, options.bank), chosen_on, scenes)
        write(json.dumps({str(seed): by_seed[seed]}, indent=1))
    write(table(by_seed))
    if options.out:
        write_results(options.out, by_seed)


if __name__ == "__main__":
    main()
