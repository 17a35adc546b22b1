"""Objects of one kind told apart: panoptic quality and average precision of each way, on drawn scenes with truth.

Commands::

    python -m benchmarks.instances --out benchmarks/results/instances.json --failures docs/instances.png
    python -m benchmarks.instances --choose    # the settings, on scenes of their own

The scenes have two to four things of one kind, some touching (:mod:`benchmarks.instance_scenes`). Settings are chosen
on the split `thresholds` and reported on the split `test`. Each way is measured twice: on the label maps that the
method gives, and on the true label maps, where nothing but the telling apart can fail. PQ is that of Kirillov et al.,
as `converters.metrics.panoptic_quality` counts it; AP is COCO's for masks, by pycocotools, over things.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.drawn_world import BANK, EVERYTHING, SEEDS
from benchmarks.instance_scenes import TrueScene, true_scenes
from benchmarks.spreads import markdown_table, spread_text, write_results
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.metrics.panoptic_quality import SegmentMap, SegmentMatches, match_segments
from ovdiff import Bank, Engine, Preset, Segmentation, load_preset
from ovdiff.evaluation.average_precision import average_precision as coco_average_precision
from ovdiff.evaluation.figures import FoundMask as EncodedMask
from ovdiff.evaluation.figures import segments_of
from ovdiff.models.loaded import LoadedModels
from ovdiff.proposals import make_object_proposer
from ovdiff.segmenting.instances import find_instances
from ovdiff.tinyworld.world import THINGS

FIRST = {"thresholds": 90_000, "test": 70_000}
"""The number of the first scene: no other benchmark has these scenes."""
WAYS = {
    "one region a category": None,
    "connected parts": "parts",
    "parts cut at waists": "cores",
    "parts cut by proposals, then at waists": "proposals",
}
Proposals = list[NDArray[np.bool_]]
_COLOURS = ((230, 40, 40), (40, 110, 230), (40, 170, 60), (240, 160, 20), (150, 60, 190), (20, 170, 180))
_STUFF_INDICES = frozenset(range(len(THINGS), len(EVERYTHING.categories)))


Rows = Mapping[str, Mapping[str, float]]
"""The figures of each way, by the names of _COLUMNS: shares from 0 to 1; and ``seconds`` of processor time an image."""
_COLUMNS = {
    "pq_things": "PQ things",
    "pq_stuff": "PQ stuff",
    "pq_all": "PQ all",
    "ap_things": "AP things",
    "ap50_things": "AP50 things",
}


def truth(scene: TrueScene) -> Segmentation:
    """Return a scene's true label map with its true objects; every pixel has the score 1."""
    labels = np.array([0, *(EVERYTHING.names.index(name) + 1 for name in scene.names)], dtype=np.int32)
    certain = np.ones(scene.ids.shape, dtype=np.float32)
    return Segmentation(labels[scene.ids], certain, certain, scene.ids)


def told_apart(found: Segmentation, method: str | None, preset: Preset, proposals: NDArray[np.bool_]) -> Segmentation:
    """Return a segmentation with its objects by one way; without a method each category is one object."""
    if method is None:
        return replace(found, instance_map=found.label_map)
    settings = replace(preset.instances, method=method)
    given = proposals if method == "proposals" else None
    return replace(found, instance_map=find_instances(found.label_map, _STUFF_INDICES, settings, given))


def measure(scenes: Sequence[TrueScene], found: Sequence[Segmentation]) -> dict[str, float]:
    """Compare segmentations with objects with the truth."""
    pairs = [(truth(scene), given) for scene, given in zip(scenes, found, strict=True)]
    count = len(EVERYTHING.categories)
    matches = SegmentMatches.none(count)
    for true, given in pairs:
        matches += match_segments(segment_map(true), segment_map(given), count)
    quality, things = matches.panoptic_quality, len(THINGS)
    precision, precision_50 = average_precision(pairs)
    return {
        "pq_things": float(np.nanmean(quality[:things])),
        "pq_stuff": float(np.nanmean(quality[things:])),
        "pq_all": float(np.nanmean(quality)),
        "ap_things": precision,
        "ap50_things": precision_50,
    }


FoundMask = tuple[int, float, NDArray[np.bool_]]
"""A mask (H, W) of a thing: its index among the things, and its score."""


def average_precision(pairs: Sequence[tuple[Segmentation, Segmentation]]) -> tuple[float, float]:
    """Return COCO's mask AP over IoU .5 to .95, and AP at .5, of things; of pairs (true, given)."""
    true, given = ([_things(each[which]) for each in pairs] for which in (0, 1))
    return average_precision_of(true, given)


def average_precision_of(
    true: Sequence[Sequence[FoundMask]], given: Sequence[Sequence[FoundMask]]
) -> tuple[float, float]:
    """Return COCO's mask AP over IoU .5 to .95, and AP at .5, of things; of the masks of each image."""
    sizes = [masks[0][2].shape if masks else (1, 1) for masks in (given[n] or true[n] for n in range(len(true)))]
    found = coco_average_precision(
        ((size[0], size[1]), _encoded(true[number]), _encoded(given[number])) for number, size in enumerate(sizes)
    )
    return found.ap or 0.0, found.ap50 or 0.0


def _things(segmentation: Segmentation) -> list[FoundMask]:
    return [(found.index, found.score, found.mask) for found in segmentation.objects() if found.index < len(THINGS)]


def _encoded(masks: Sequence[FoundMask]) -> list[EncodedMask]:
    return [EncodedMask(index + 1, str(mask_to_coco_rle(mask)["counts"]), score) for index, score, mask in masks]


def segment_map(segmentation: Segmentation) -> SegmentMap:
    """Return the objects of a segmentation, numbered without a gap."""
    height, width = segmentation.label_map.shape
    return segments_of(list(segmentation.objects()), (height, width))


def compare(
    scenes: Sequence[TrueScene], found: Sequence[Segmentation], preset: Preset, proposals: Proposals, propose_s: float
) -> Rows:
    """Measure every way on the same label maps."""
    rows = {}
    for name, method in WAYS.items():
        begun = time.process_time()
        objects = [told_apart(one, method, preset, some) for one, some in zip(found, proposals, strict=True)]
        seconds = (time.process_time() - begun) / len(scenes) + (propose_s if method == "proposals" else 0.0)
        rows[name] = {**measure(scenes, objects), "seconds": seconds}
    return rows


def propose(scenes: Sequence[TrueScene], preset: Preset) -> tuple[Proposals, float]:
    """Return the proposals of each scene by the preset's source for objects, and the processor seconds of an image."""
    proposing = replace(preset, instances=replace(preset.instances, method="proposals"))
    proposer = make_object_proposer(proposing, LoadedModels("cpu"))
    proposer.propose(scenes[0].image)  # the first call is slower
    begun = time.process_time()
    proposals = [proposer.propose(scene.image) for scene in scenes]
    return proposals, (time.process_time() - begun) / len(scenes)


def segment(scenes: Sequence[TrueScene], preset: Preset, bank: Bank) -> tuple[list[Segmentation], float]:
    """Return the label maps of the scenes by the method, and the processor seconds of an image."""
    engine = Engine(preset, bank)
    for category in EVERYTHING.categories:
        engine.build(category)
    engine.segment(scenes[0].image[::2], EVERYTHING)  # loads the models
    begun = time.process_time()
    found = [engine.segment(scene.image, EVERYTHING) for scene in scenes]
    return found, (time.process_time() - begun) / len(scenes)


def choose(scenes: Sequence[TrueScene], found: Sequence[Segmentation], preset: Preset) -> Rows:
    """Measure the way without proposals at several settings, on the split for choosing."""
    rows = {}
    for waist, area in product((0.75, 0.8, 0.85, 0.9, 0.95), (0.002, 0.005)):
        tried = replace(preset, instances=replace(preset.instances, waist=waist, min_area=area))
        objects = [told_apart(one, "cores", tried, np.zeros((0, 1, 1), np.bool_)) for one in found]
        rows[f"waist {waist}, min_area {area}"] = measure(scenes, objects)
    return rows


def describe(scenes: Sequence[TrueScene]) -> dict[str, float]:
    """Return what is in the scenes: things, pairs of one kind, and how many of the pairs touch."""
    pairs, touching = np.sum([scene.pairs() for scene in scenes], axis=0).tolist()
    things = sum(name in THINGS for scene in scenes for name in scene.names)
    return {
        "scenes": len(scenes),
        "things": things,
        "pairs of one kind": pairs,
        "touching": touching,
        "scenes with a touching pair": sum(scene.pairs()[1] > 0 for scene in scenes),
    }


def table(by_seed: Mapping[str, Rows]) -> str:
    """Return a Markdown table of the ways: the mean over the seeds, and the spread where there are several."""
    lines = []
    for way in next(iter(by_seed.values())):
        figures = [rows[way] for rows in by_seed.values()]
        lines.append((way, *(spread_text([each[name] for each in figures]) for name in _COLUMNS)))
    return markdown_table(("", *_COLUMNS.values()), lines)


def cost_table(results: Mapping[str, Any]) -> str:
    """Return a Markdown table of the processor seconds that an image takes, with and without objects."""
    cost, ways = results["processor seconds an image"], results["seeds"].values()
    lines = [("segmenting", spread_text([cost["segmenting"]]))]
    for way in (name for name, method in WAYS.items() if method):
        lines.append((f"and {way}", spread_text([rows[way]["seconds"] for rows in ways])))
    lines.append(("of the last, the proposals alone", spread_text([cost["proposals"]])))
    return markdown_table(("", "s an image"), lines)


def run(
    preset: Preset, seeds: Sequence[int], count: int, write: Callable[[str], None]
) -> tuple[dict[str, Any], Image.Image]:
    """Measure every way with every seed; return all figures, and a picture of the worst scenes of the first seed."""
    scenes, bank = list(true_scenes(FIRST["test"], count, "test")), Bank(BANK)
    proposals, propose_s = propose(scenes, preset)
    plain = [replace(truth(scene), instance_map=None) for scene in scenes]
    exact = compare(scenes, plain, preset, proposals, propose_s)
    write(f"On the true label maps\n\n{table({'': exact})}\n")
    by_seed: dict[str, Rows] = {}
    found, segment_s = [], []
    for seed in reversed(seeds):  # The first seed comes last: its segmentations are drawn.
        found, seconds = segment(scenes, _seeded(preset, seed), bank)
        by_seed[str(seed)] = compare(scenes, found, preset, proposals, propose_s)
        segment_s.append(seconds)
        write(f"seed {seed}\n\n{table({'': by_seed[str(seed)]})}\n")
    results = {
        "scenes": describe(scenes),
        "settings": vars(preset.instances),
        "processor seconds an image": {"segmenting": float(np.mean(segment_s)), "proposals": propose_s},
        "on the true label maps": {"": exact},
        "seeds": dict(reversed(by_seed.items())),
    }
    chosen = preset.instances.method
    objects = [told_apart(one, chosen, preset, some) for one, some in zip(found, proposals, strict=True)]
    return results, draw_worst(scenes, objects)


def draw_worst(scenes: Sequence[TrueScene], found: Sequence[Segmentation], count: int = 8) -> Image.Image:
    """Draw the scenes with the most missed and invented things: each image, below it the truth and what was found."""
    faults = [_faults(scene, given) for scene, given in zip(scenes, found, strict=True)]
    columns = []
    for number in np.argsort(faults, kind="stable")[::-1][:count].tolist():
        image, pair = scenes[number].image, (truth(scenes[number]), found[number])
        columns.append(np.vstack([image, *(_painted(image, each) for each in pair)]))
    sheet = Image.fromarray(np.hstack(columns))
    return sheet.resize((sheet.width // 2, sheet.height // 2), Image.Resampling.LANCZOS)


def _faults(scene: TrueScene, given: Segmentation) -> int:
    """Return how many things of a scene were missed or invented."""
    matches = match_segments(segment_map(truth(scene)), segment_map(given), len(EVERYTHING.categories))
    wrong = matches.false_positives + matches.false_negatives
    return int(wrong[: len(THINGS)].sum())


def _painted(image: NDArray[np.uint8], segmentation: Segmentation) -> NDArray[np.uint8]:
    """Return the image in grey with each thing in a colour of its own."""
    painted = np.repeat(image.mean(axis=2, keepdims=True) / 2 + 100, 3, axis=2)
    things = (each for each in segmentation.objects() if each.index < len(THINGS))
    for number, each in enumerate(things):
        painted[each.mask] = painted[each.mask] / 3 + np.array(_COLOURS[number % len(_COLOURS)]) * 2 / 3
    return painted.astype(np.uint8)


def main(write: Callable[[str], None] = print) -> None:
    """Measure, print the tables, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--preset", default="tinyworld")
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--choose", action="store_true", help="try settings on the split 'thresholds', first seed only")
    parser.add_argument("--out", type=Path, help="write the figures there, as JSON")
    parser.add_argument("--failures", type=Path, help="write a picture of the worst scenes there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    preset = load_preset(options.preset)
    if options.choose:
        scenes = list(true_scenes(FIRST["thresholds"], options.scenes, "thresholds"))
        found, _ = segment(scenes, _seeded(preset, options.seeds[0]), Bank(BANK))
        write(table({"": choose(scenes, found, preset)}))
        return
    results, worst = run(preset, options.seeds, options.scenes, write)
    write(f"mean of {len(options.seeds)} seeds\n\n{table(results['seeds'])}\n\n{cost_table(results)}")
    if options.out:
        write_results(options.out, results)
    if options.failures:
        worst.save(options.failures)


def _seeded(preset: Preset, seed: int) -> Preset:
    return replace(preset, generation=replace(preset.generation, seed=seed))


if __name__ == "__main__":
    main()
