"""Other methods beside OVDiff on the drawn world: quality, time, memory, and what each is given.

Command, which takes about ten minutes on one core and prints a Markdown table::

    python -m benchmarks.baselines --out benchmarks/results/baselines.json

Each row is a process of its own, so that its memory is its own; ``ovdiff evaluate drawn --limit 100`` gives any other
figure of a preset. The settings in the presets of the methods on CLIP were chosen by ``python -m benchmarks.baselines
--choose``, on scenes of the split `thresholds`; it takes a quarter of an hour. The figures tell how methods fare on a
CLIP of 1.3 M parameters that was trained for an hour on drawn scenes.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.absent_words import earlier_rows
from benchmarks.drawn_world import BANK, EVERYTHING, USUAL_PX, true_labels
from benchmarks.spreads import markdown_table, write_results
from converters.metrics.confusion import category_ious, confusion_matrix, mean_iou
from ovdiff import Bank, Preset
from ovdiff.baselines.decision import Rule, decide
from ovdiff.baselines.engine import BaselineEngine
from ovdiff.baselines.preset import ActivationSettings, ClipDensePreset
from ovdiff.baselines.words import competing_words
from ovdiff.engines import load_any_preset, make_engine
from ovdiff.models.loaded import LoadedModels
from ovdiff.tinyworld.world import render, sample_scene

DENSE: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "clip_plain": [{}],
    "maskclip": [{"last_block": last} for last in ("whole", "attention")],
    "sclip": [{"last_block": last} for last in ("whole", "attention")],
    "naclip": [{"last_block": last, "gaussian_std": std} for last, std in product(("attention", "whole"), (1.0, 5.0))],
    "clip_surgery": [{"surgery_blocks": count} for count in (1, 2, 3)],
}
"""What is tried of each method, besides windows, scores, thresholds and PAMR."""

WINDOWS: Sequence[tuple[int, tuple[tuple[int, int], ...]]] = (
    (64, ()),
    (128, ()),
    (96, ((64, 32),)),
    (128, ((64, 32),)),
    (192, ((64, 32),)),
    (256, ((64, 32),)),
)
"""The short side and the windows; () is the whole image."""

SCALES = (0.0, 5.0, 10.0, 20.0, 33.0, 60.0)
"""0 is no softmax."""
SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)
SIMILARITIES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)

ROWS: Mapping[str, tuple[str, str]] = {
    "tinyworld": ("OVDiff", "words; minutes once"),
    "clip_plain_tinyworld": ("CLIP as it is", "words"),
    "maskclip_tinyworld": ("MaskCLIP", "words"),
    "sclip_tinyworld": ("SCLIP", "words"),
    "naclip_tinyworld": ("NACLIP", "words"),
    "clip_surgery_tinyworld": ("CLIP surgery", "words"),
    "odise_tinyworld": ("ODISE", "words; learned from masks"),
}
"""By preset: the method's name, and what it is given."""


@dataclass(frozen=True)
class Choice:
    """Settings, and what they reach on scenes for choosing."""

    miou: float
    settings: Mapping[str, Any]


def choose(name: str, scenes: int, models: LoadedModels) -> Choice:
    """Return the best settings of a method on scenes of the split `thresholds`.

    PAMR is tried with the best of the other settings alone, because it takes long.
    """
    drawn = [render(sample_scene(number, "thresholds"), USUAL_PX) for number in range(scenes)]
    truths = [true_labels(each.label_map, EVERYTHING)[::2, ::2] for each in drawn]
    images = [each.image for each in drawn]
    found: list[Choice] = []
    for (side, crops), dense in product(WINDOWS, DENSE[name]):
        tried = {"short_side_px": side, "crops_px": crops, **dense, "pamr": False}
        found += best_rule(word_maps(name, images, tried, models), truths, tried)
    best = max(found, key=lambda each: each.miou)
    tried = {**best.settings, "pamr": True}
    return max([best, *best_rule(word_maps(name, images, tried, models), truths, tried)], key=lambda each: each.miou)


def word_maps(
    name: str, images: Sequence[NDArray[np.uint8]], tried: Mapping[str, Any], models: LoadedModels
) -> list[Tensor]:
    """Return the maps of all words in each image, with some settings of a method."""
    preset = load_any_preset(f"{name}_tinyworld")
    if not isinstance(preset, ClipDensePreset):
        raise TypeError(f"{name}_tinyworld is a preset of {preset.engine!r}")
    side, crops = tried["short_side_px"], tried["crops_px"]
    dense = {key: value for key, value in tried.items() if hasattr(preset.dense, key)}
    changed = replace(
        preset,
        windows=replace(preset.windows, short_side_px=side, crops_px=crops, whole_image=not crops),
        dense=replace(preset.dense, **dense),
        refine=replace(preset.refine, pamr=tried["pamr"]),
    )
    engine, words = BaselineEngine(changed, models=models), competing_words(EVERYTHING, ())
    return [engine.word_maps(engine.encode(image), words) for image in images]


def best_rule(
    maps: Sequence[Tensor], truths: Sequence[NDArray[np.int32]], tried: Mapping[str, Any]
) -> Iterator[Choice]:
    """Yield the best threshold with each scale of the softmax, of truths (H, W) smaller than the images."""
    words = competing_words(EVERYTHING, ())
    for scale in SCALES:
        every = Rule(ActivationSettings("softmax" if scale else "none", scale or 1.0), -1.0)
        found = [
            decide(each, words, (len(truth), len(truth[0])), every) for each, truth in zip(maps, truths, strict=True)
        ]
        mious = {
            threshold: miou(truths, [np.where(each.scores < threshold, 0, each.label_map) for each in found])
            for threshold in (SHARES if scale else SIMILARITIES)
        }
        best = max(mious, key=lambda threshold: mious[threshold])
        yield Choice(mious[best], {**tried, "scale": scale, "threshold": best})


def miou(truths: Sequence[NDArray[np.int32]], found: Sequence[NDArray[np.int32]]) -> float:
    """Return the mIoU of background and all words."""
    count = len(EVERYTHING.categories)
    total = np.zeros((count + 1, count + 1), dtype=np.int64)
    for truth, labels in zip(truths, found, strict=True):
        total += confusion_matrix(truth, labels, count)
    return mean_iou(total)


def measure(preset: str, scenes: int, bank: Path) -> dict[str, float]:
    """Segment scenes of the split `test` in this process; return the figures of a row."""
    chosen, count = load_any_preset(preset), len(EVERYTHING.categories)
    if isinstance(chosen, Preset):  # An encoding that an earlier run stored would not be timed.
        chosen = replace(chosen, cache=replace(chosen.cache, disk_mib=0))
    engine = make_engine(chosen, Bank(bank), "cpu")
    for category in EVERYTHING.categories:
        engine.build(category)
    total, seconds = np.zeros((count + 1, count + 1), dtype=np.int64), []
    for number in range(scenes):
        drawn = render(sample_scene(number, "test"), USUAL_PX)
        begun = time.process_time()
        found = engine.segment(drawn.image, EVERYTHING)
        seconds.append(time.process_time() - begun)
        total += confusion_matrix(true_labels(drawn.label_map, EVERYTHING), found.label_map, count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**figures_of(total), "seconds": float(np.median(seconds)), "peak_mib": peak}


def figures_of(confusion: NDArray[np.int64]) -> dict[str, float]:
    """Return the mean IoU of all classes, of things and of stuff, and the IoU of background."""
    ious = category_ious(confusion)
    of_stuff = np.array([category.kind == "stuff" for category in EVERYTHING.categories])
    return {
        "miou": float(np.nanmean(ious)),
        "things": float(np.nanmean(ious[1:][~of_stuff])),
        "stuff": float(np.nanmean(ious[1:][of_stuff])),
        "background": float(ious[0]),
    }


def measure_apart(preset: str, scenes: int, bank: Path) -> dict[str, float]:
    """Return what :func:`measure` returns in a process of its own, so that its memory is its own."""
    words = ["-m", "benchmarks.baselines", "--row", preset, "--scenes", str(scenes), "--bank", str(bank)]
    found = subprocess.run([sys.executable, *words], stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return figures


def table(results: Mapping[str, Any]) -> str:
    """Return the Markdown table of all rows, and a line about how they were measured."""
    columns = ("is given", "mIoU", "things", "stuff", "background", "s an image", "memory, MiB")
    lines = [
        [
            ROWS[preset][0],
            ROWS[preset][1],
            *(f"{row[name]:.3f}".removeprefix("0") for name in ("miou", "things", "stuff", "background")),
            f"{row['seconds']:.2f}",
            f"{row['peak_mib']:.0f}",
        ]
        for preset, row in results["rows"].items()
    ]
    said = (
        f"*{results['protocol']['scenes']} usual scenes of the split `test`, 256 px, 19 words and background. Seconds "
        f"of processor time on one core, the median; memory of the whole process, most of which the libraries take. "
        "OVDiff's prototypes were made before.*"
    )
    return f"{markdown_table(('method', *columns), lines)}\n\n{said}"


def main() -> None:
    """Choose settings; or measure, print the table, and write the figures as JSON beside those of earlier rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--choose", nargs="*", metavar="METHOD", help="print the best settings of methods on CLIP")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--choosing", type=int, default=16, help="scenes for choosing")
    parser.add_argument("--row", choices=list(ROWS), help="measure one row in this process, and print it as JSON")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--bank", type=Path, default=BANK, help="where OVDiff's prototypes are kept")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.choose is not None:
        models = LoadedModels()
        for name in options.choose or DENSE:
            found = choose(name, options.choosing, models)
            print(f"{name}: {found.miou:.3f} {dict(found.settings)}", flush=True)
        return
    if options.row:
        print(json.dumps(measure(options.row, options.scenes, options.bank)))
        return
    protocol = {"scenes": options.scenes}
    rows = earlier_rows(options.out, protocol) if options.out else {}
    for preset in options.rows:
        rows[preset] = measure_apart(preset, options.scenes, options.bank)
        ordered = {name: rows[name] for name in ROWS if name in rows}
        print(preset, rows[preset], flush=True)
        if options.out:
            write_results(options.out, {"protocol": protocol, "rows": ordered})
    print(table({"protocol": protocol, "rows": rows}))


if __name__ == "__main__":
    main()
