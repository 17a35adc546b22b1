"""Segmentation quality of the embedded models on drawn test scenes, with the method's ablations.

Command: ``python benchmarks/tinyworld_quality.py --out benchmarks/results/tinyworld_quality.json``; it prints a
Markdown table. Thresholds are chosen on the world's ``thresholds`` split, everything else is measured on ``test``.
The figures say that the code path works; they are no evidence for the paper's claims (see ovdiff/tinyworld).
"""

import argparse
import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from converters.corrections.confusion import category_ious, confusion_matrix
from ovdiff import Bank, Category, Engine, Preset, Vocabulary, load_preset
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.tinyworld.world import NAMES, STUFF, THINGS, render, sample_scene

SCENE_PX = 256
THINGS_ONLY = Vocabulary(tuple(Category(name, kind="thing") for name in THINGS))
EVERYTHING = Vocabulary(THINGS_ONLY.categories + tuple(Category(name, kind="stuff") for name in STUFF))
EXTRACTOR_SETS = {
    "SD": ("stable_diffusion",),
    "CLIP": ("clip",),
    "DINO": ("dino",),
    "SD + CLIP": ("stable_diffusion", "clip"),
    "SD + DINO + CLIP": ("stable_diffusion", "dino", "clip"),
}
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scenes:
    """Encoded scenes with their true label maps (indices into the world's names)."""

    encoded: list[EncodedImage]
    label_maps: list[NDArray[np.uint8]]

    def truths(self, vocabulary: Vocabulary) -> list[NDArray[np.int32]]:
        """Return (H, W) label maps: 0 for whatever is not in the vocabulary, i + 1 for its i-th category."""
        ids = np.zeros(len(NAMES), dtype=np.int32)
        for index, category in enumerate(vocabulary.categories):
            ids[NAMES.index(category.name)] = index + 1
        return [ids[label_map] for label_map in self.label_maps]


def encode_scenes(engine: Engine, split: str, count: int) -> Scenes:
    """Render and encode the first scenes of a split."""
    renderings = [render(sample_scene(index, split), SCENE_PX) for index in range(count)]  # type: ignore[arg-type]
    return Scenes([engine.encode(each.image) for each in renderings], [each.label_map for each in renderings])


def vary(preset: Preset, **sections: dict[str, Any]) -> Preset:
    """Return the preset with fields of some sections changed."""
    return replace(preset, **{name: replace(getattr(preset, name), **fields) for name, fields in sections.items()})


def mean_iou(vocabulary: Vocabulary, truths: Iterable[NDArray[Any]], predicted: Iterable[NDArray[Any]]) -> float:
    """Return the mIoU over background and categories, intersections and unions summed over all scenes."""
    count = len(vocabulary.categories)
    total = sum(confusion_matrix(t, p, count) for t, p in zip(truths, predicted, strict=True))
    return float(np.nanmean(category_ious(np.asarray(total))))


class Bench:
    """One generation seed: a bank of its own, and engines for variants of the preset."""

    def __init__(self, preset: Preset, seed: int, folder: Path) -> None:
        self.preset = vary(preset, generation={"seed": seed})
        self._bank = Bank(folder)
        builder = Engine(self.preset, self._bank)
        for category in EVERYTHING.categories:
            builder.build(category)

    def engine(self, extractors: Sequence[str], **sections: dict[str, Any]) -> Engine:
        """Return an engine that differs from the preset online only."""
        matching = {"extractors": tuple(extractors), **sections.pop("matching", {})}
        return Engine(vary(self.preset, matching=matching, **sections), self._bank)

    def score(
        self, scenes: Scenes, vocabulary: Vocabulary, extractors: Sequence[str], **sections: dict[str, Any]
    ) -> float:
        """Return the mIoU of a variant."""
        engine = self.engine(extractors, **sections)
        maps = [engine.label(encoded, vocabulary).label_map for encoded in scenes.encoded]
        return mean_iou(vocabulary, scenes.truths(vocabulary), maps)

    def without_background(
        self, chosen_on: Scenes, scenes: Scenes, vocabulary: Vocabulary, extractors: Sequence[str]
    ) -> tuple[float, float]:
        """Return the mIoU with a threshold in place of background prototypes, and the threshold chosen."""
        engine = self.engine(extractors, matching={"background": "threshold", "background_threshold": -1.0})
        sweep = np.linspace(0.3, 0.98, 35)

        def at(threshold: float, some: Scenes, found: list[Any]) -> float:
            maps = [np.where(s.scores < threshold, 0, s.label_map) for s in found]
            return mean_iou(vocabulary, some.truths(vocabulary), maps)

        found = [engine.label(encoded, vocabulary) for encoded in chosen_on.encoded]
        best = max(sweep, key=lambda threshold: at(float(threshold), chosen_on, found))
        found = [engine.label(encoded, vocabulary) for encoded in scenes.encoded]
        return at(float(best), scenes, found), float(best)


def measure(bench: Bench, chosen_on: Scenes, scenes: Scenes) -> dict[str, float]:
    """Return every row of the table for one seed."""
    sd = EXTRACTOR_SETS["SD"]
    rows: dict[str, float] = {}
    for prefix, vocabulary in (("things", THINGS_ONLY), ("all 19", EVERYTHING)):
        for name, extractors in EXTRACTOR_SETS.items():
            rows[f"{prefix}: {name}"] = bench.score(scenes, vocabulary, extractors)
        score, threshold = bench.without_background(chosen_on, scenes, vocabulary, sd)
        rows[f"{prefix}: SD, no background prototypes"] = score
        rows[f"{prefix}: SD, no background prototypes: threshold"] = threshold
        rows[f"{prefix}: SD, no prefilter"] = bench.score(scenes, vocabulary, sd, prefilter={"enabled": False})
        rows[f"{prefix}: SD, class prototypes only"] = bench.score(
            scenes, vocabulary, sd, matching={"kinds": ("class",)}
        )
    rows["all 19: SD, no stuff filter"] = bench.score(scenes, EVERYTHING, sd, stuff_filter={"enabled": False})
    return rows


def table(by_seed: dict[int, dict[str, float]]) -> str:
    """Return a Markdown table: mean, standard deviation, and each seed."""
    seeds = list(by_seed)
    lines = [
        f"| mIoU | mean | spread | {' | '.join(f'seed {seed}' for seed in seeds)} |",
        f"| --- | --- | --- | {' | '.join('---' for _ in seeds)} |",
    ]
    for row in by_seed[seeds[0]]:
        values = [by_seed[seed][row] for seed in seeds]
        shown = " | ".join(f"{value:.3f}" for value in values)
        lines.append(f"| {row} | **{np.mean(values):.3f}** | {np.std(values):.3f} | {shown} |")
    return "\n".join(lines)


def main(write: Callable[[str], None] = print) -> None:
    """Measure, print the table, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--preset", default="tinyworld")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--threshold-scenes", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    preset = load_preset(options.preset)
    with tempfile.TemporaryDirectory() as folder:
        voters = {"extractors": EXTRACTOR_SETS["SD + DINO + CLIP"]}
        encoder = Engine(vary(preset, matching=voters), Bank(Path(folder) / "none"))
        chosen_on = encode_scenes(encoder, "thresholds", options.threshold_scenes)
        scenes = encode_scenes(encoder, "test", options.scenes)
        by_seed = {}
        for seed in options.seeds:
            by_seed[seed] = measure(Bench(preset, seed, Path(folder) / str(seed)), chosen_on, scenes)
            write(json.dumps({str(seed): by_seed[seed]}, indent=1))
    write(table(by_seed))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(by_seed, indent=1) + "\n")


if __name__ == "__main__":
    main()
