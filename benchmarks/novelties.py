"""Are things that were left out of the vocabulary among the first groups of novelties?

    python -m benchmarks.novelties --out benchmarks/results/novelties.json

For each generation seed and each triple of things: the vocabulary is the other 16 words, the images are crowded scenes.
A left-out word counts as found if it is the true word of at least half of a group's regions, where a region's true word
is that of most of its pixels, and the group is among the first five. The preset is measured as it is, where prototypes
of anchors compete for the pixels, and without these, where only CLIP knows other words. Expect two minutes a seed.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.drawn_world import BANK, CROWDED_FIRST, EVERYTHING, SEEDS, Bench, Changes, Scenes, encode_crowded
from ovdiff import Engine, Vocabulary, load_preset
from ovdiff.novelties.groups import Example, NovelRegion, group_regions
from ovdiff.tinyworld.world import NAMES, Split

TRIPLES = (
    ("umbrella", "clock", "fish"),
    ("ball", "tree", "mug"),
    ("car", "boat", "bird"),
    ("house", "balloon", "mushroom"),
)
"""Each thing of the world once."""

FIRST = 5
VARIANTS: dict[str, Changes] = {"tinyworld": {}, "without prototypes of anchors": {"anchors": {"prototypes": []}}}


def true_word(region: NovelRegion, label_map: NDArray[np.uint8]) -> str:
    """Return the world's word of most of a region's pixels; the label map (H, W) is sampled at the mask's pixels."""
    mask = region.mask
    if mask is None:
        raise ValueError("expected a region with its mask")
    rows, columns = np.nonzero(mask)
    height, width = label_map.shape
    sampled = label_map[rows * height // mask.shape[0], columns * width // mask.shape[1]]
    return NAMES[int(np.bincount(sampled).argmax())]


def first_groups(engine: Engine, scenes: Scenes, left_out: Sequence[str]) -> list[dict[str, Any]]:
    """Return the first groups of novelties, each with its true words and what CLIP calls it."""
    vocabulary = Vocabulary(tuple(word for word in EVERYTHING.categories if word.name not in left_out))
    truth = {str(number): label_map for number, label_map in zip(scenes.numbers, scenes.label_maps, strict=True)}
    found = [
        Example(str(number), region)
        for number, encoded in zip(scenes.numbers, scenes.encoded, strict=True)
        for region in engine.novel_regions(encoded, vocabulary)
    ]
    return [
        {
            "looks_like": group.looks_like[0][0],
            "regions": len(group.examples),
            "true": dict(Counter(true_word(each.region, truth[each.image]) for each in group.examples).most_common()),
        }
        for group in group_regions(found)[:FIRST]
    ]


def found_words(groups: Sequence[dict[str, Any]], left_out: Sequence[str]) -> list[str]:
    """Return the left-out words that are the true word of at least half of some group's regions."""
    return [word for word in left_out if any(group["true"].get(word, 0) >= group["regions"] / 2 for group in groups)]


def measure(
    seeds: Sequence[int], split: Split, numbers: Sequence[int], bank: Path, write: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Measure every seed, variant and triple, and write a line for each."""
    rows, preset = [], load_preset("tinyworld")
    for seed in seeds:
        bench = Bench(preset, seed, bank)
        scenes = encode_crowded(bench.engine(), split, numbers)
        for variant, changes in VARIANTS.items():
            engine = bench.engine(changes)
            for left_out in TRIPLES:
                groups = first_groups(engine, scenes, left_out)
                words = found_words(groups, left_out)
                rows.append({"seed": seed, "variant": variant, "left_out": left_out, "found": words, "groups": groups})
                write(f"seed {seed}, {variant}, without {', '.join(left_out)}: found {', '.join(words) or 'none'}")
    return rows


def table(results: Any) -> str:
    """Return the shares of left-out words that were found, a line for each variant, as Markdown."""
    lines = ["| preset | left-out words found | triples found whole |", "| --- | --: | --: |"]
    for variant in VARIANTS:
        rows = [row for row in results["rows"] if row["variant"] == variant]
        asked, found = (sum(len(row[field]) for row in rows) for field in ("left_out", "found"))
        whole = sum(len(row["found"]) == len(row["left_out"]) for row in rows)
        lines.append(f"| {variant} | {found} of {asked} | {whole} of {len(rows)} |")
    said = results["protocol"]
    seeds = ", ".join(map(str, said["seeds"]))
    scenes = f"{said['scenes']} crowded scenes from {said['first']} of the split `{said['split']}`"
    return "\n".join([*lines, "", f"*Measured on {scenes}, with generation seeds {seeds} and four triples of things.*"])


def main(write: Callable[[str], None] = print) -> None:
    """Measure, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--split", choices=("thresholds", "test"), default="test")
    parser.add_argument("--first", type=int, default=CROWDED_FIRST)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--bank", type=Path, default=BANK)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    numbers = range(options.first, options.first + options.scenes)
    rows = measure(options.seeds, options.split, numbers, options.bank, write)
    protocol = {name: getattr(options, name) for name in ("seeds", "split", "first", "scenes")}
    results = {"protocol": protocol, "rows": rows}
    write(f"\n{table(results)}")
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
