"""Are words painted that nobody can see? Crowded drawn scenes, asked for random words, in a minute for each seed.

    OMP_NUM_THREADS=1 python -m benchmarks.absent_words --out benchmarks/results/absent_words.json
    python -m benchmarks.absent_words --scenes 24 --sizes 4 --seeds 42 --failures runs/failures.png
    python -m benchmarks.absent_words --split thresholds --first 0 --ablation

The first command asks for 1, 2, 4, 8 and all 19 words in 60 scenes with each of three generation seeds, in ten minutes
on one thread, of which the prototypes take two if no earlier run left them in runs/bank. It prints Markdown tables of
means and standard deviations over the seeds. Settings are chosen on ``--split thresholds``; what is reported is the
``test`` split from scene 50000. docs/measurements.md says what each figure is.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.asked_words import KINDS, ask
from benchmarks.drawn_world import (
    BANK,
    CROWDED_FIRST,
    NO_ANCHORS,
    NO_CHECK,
    PREFILTER,
    PUBLISHED,
    SEEDS,
    THINGS_ONLY,
    Bench,
    Changes,
    Scenes,
    changes_of,
    encode_crowded,
    encode_scenes,
    mious,
    vary,
    with_changes,
)
from benchmarks.failures import draw_failures, failures
from benchmarks.spreads import markdown_table, spread_text, write_results
from ovdiff import Bank, Engine, load_preset
from ovdiff.evaluation.asked_words import word_figures

SIZES = (1, 2, 4, 8, 19)
FAILURES_SIZE = 4
COLUMNS = ("present painted", "absent painted", "area of the absent", "auroc", "iou of the present")

ABLATION: Mapping[str, Changes] = {
    "as published": PUBLISHED,
    "anchors alone": {**NO_CHECK, "prefilter": {"enabled": False}},
    "anchors, prefilter among them": {**NO_CHECK, **PREFILTER},
    "part check alone": {**NO_ANCHORS, **PREFILTER},
    "the preset: anchors, part check": {},
    "the preset, with the prefilter": PREFILTER,
    "crops .3 and .6 wider": {"part_check": {"crops_wider": [0.3, 0.6]}},
    "crops .2, .5 and 1 wider": {"part_check": {"crops_wider": [0.2, 0.5, 1.0]}},
    "one crop, .5 wider": {"part_check": {"crops_wider": [0.5]}},
    "shares of parts alone": {"part_check": {"region_weight": 0.0}},
    "shares of regions alone": {"part_check": {"part_weight": 0.0}},
    "uncertain stuff stays": {"part_check": {"stuff_min_share": 0.0}},
}
"""The variants that `--ablation` measures, each a row: the changes of the preset by the row's name."""

Measured = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is measured: the sizes of vocabularies, how many of each a scene is asked for, and on which scenes."""

    sizes: tuple[int, ...]
    vocabularies: int
    crowded: Scenes
    usual: Scenes


def measure(bench: Bench, changes: Changes, plan: Plan) -> Measured:
    """Return the figures of one variant of the preset with one generation seed."""
    engine = bench.engine(changes)
    sizes = {}
    for size in plan.sizes:
        words = ask(engine, plan.crowded, size, plan.vocabularies)
        sizes[str(size)] = {kind: word_figures(word for word in words if word.kind == kind) for kind in KINDS}
    return {"words": sizes, "miou": measure_miou(bench, changes, plan)}


def measure_miou(bench: Bench, changes: Changes, plan: Plan) -> dict[str, float]:
    """Return the mIoU of crowded and usual scenes, background included."""
    engine = bench.engine(changes)
    crowded = mious(engine, plan.crowded)
    unfiltered = crowded
    if engine.preset.prefilter.enabled:
        unfiltered = mious(bench.engine(with_changes(changes, {"prefilter": {"enabled": False}})), plan.crowded)
    rows = {f"crowded: {words}": value for words, value in crowded.items()}
    rows |= {f"crowded, no prefilter: {words}": value for words, value in unfiltered.items()}
    if plan.usual.numbers:
        rows |= {f"usual: {words}": value for words, value in mious(engine, plan.usual).items()}
        rows["usual: things asked for alone"] = mious(engine, plan.usual, THINGS_ONLY)["things"]
    return rows


def words_table(rows: Mapping[str, Mapping[str, Measured]]) -> str:
    """Return the Markdown table of absent and present words: a line for each variant, size and kind.

    A single variant is not named.
    """
    lines = []
    for variant, by_seed in rows.items():
        seeds = list(by_seed.values())
        for size in seeds[0]["words"]:
            for kind in KINDS:
                figures = [seed["words"][size][kind] for seed in seeds]
                cells = [spread_text([each[column] for each in figures]) for column in COLUMNS]
                lines.append([variant, size, kind, *cells])
    unnamed = 1 if len(rows) == 1 else 0
    head = ("preset", "words", "of them", *COLUMNS)
    return markdown_table(head[unnamed:], [line[unnamed:] for line in lines])


def miou_table(rows: Mapping[str, Mapping[str, Measured]]) -> str:
    """Return the Markdown table of the mIoU: a line for each variant."""
    head = list(next(iter(next(iter(rows.values())).values()))["miou"])
    lines = [
        [variant, *(spread_text([seed["miou"][column] for seed in by_seed.values()]) for column in head)]
        for variant, by_seed in rows.items()
    ]
    return markdown_table(("preset", *head), lines)


Rows = dict[str, dict[str, Measured]]
"""The figures by the name of the variant and the seed."""


def earlier_rows(path: Path, protocol: Mapping[str, Any]) -> Rows:
    """Return what an earlier run measured by the same protocol, with the same preset and weights; else nothing."""
    if not path.is_file():
        return {}
    earlier = json.loads(path.read_text("utf-8"))
    return earlier["rows"] if earlier["protocol"] == protocol else {}


def run(
    plan: Plan,
    variants: Mapping[str, Changes],
    seeds: Iterable[int],
    make_bench: Callable[[int], Bench],
    tell: Callable[[str], None],
) -> Rows:
    """Measure each variant with each seed; ``tell`` is given a line after each."""
    rows: Rows = {name: {} for name in variants}
    for seed in seeds if variants else ():
        bench = make_bench(seed)
        for name, changes in variants.items():
            begun = time.monotonic()
            rows[name][str(seed)] = measure(bench, changes, plan)
            tell(f"seed {seed}, {name}: {time.monotonic() - begun:.0f} s")
    return rows


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--preset", default="tinyworld")
    parser.add_argument("--split", choices=("thresholds", "test"), default="test")
    parser.add_argument("--first", type=int, default=CROWDED_FIRST, help="the number of the first crowded scene")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--usual", type=int, default=100, help="usual scenes, from number 0; 0 leaves them out")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="how many words are asked for")
    parser.add_argument("--vocabularies", type=int, default=3, help="random vocabularies of each size and scene")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--set", nargs="+", default=[], metavar="SECTION.FIELD=VALUE", help="change the preset")
    parser.add_argument("--ablation", action="store_true", help="a row for each part of the method")
    parser.add_argument("--bank", type=Path, default=BANK, help="where prototypes are kept")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--keep", action="store_true", help="measure only what OUT lacks, if the same made it")
    parser.add_argument("--failures", type=Path, help="a PNG of the worst answers of the first seed")
    return parser.parse_args()


def main(write: Callable[[str], None] = print) -> None:
    """Measure, print the tables, and write the figures as JSON."""
    options = arguments()
    torch.set_num_threads(1)
    preset = vary(load_preset(options.preset), **changes_of(options.set))
    begun = time.monotonic()
    encoder = Engine(vary(preset, prefilter={"enabled": True}), Bank(options.bank))
    crowded = encode_crowded(encoder, options.split, range(options.first, options.first + options.scenes))
    usual = encode_scenes(encoder, options.split, range(options.usual))
    write(f"{options.scenes + options.usual} scenes encoded: {time.monotonic() - begun:.0f} s")
    plan = Plan(tuple(options.sizes), options.vocabularies, crowded, usual)
    variants = ABLATION if options.ablation else {" ".join(options.set) or preset.name: {}}
    said = {name: getattr(options, name) for name in ("split", "first", "scenes", "usual", "vocabularies", "set")}
    protocol = {**said, "made with": encoder.fingerprint()}
    rows = earlier_rows(options.out, protocol) if options.keep and options.out else {}
    for seed in options.seeds:
        missing = {name: changes for name, changes in variants.items() if str(seed) not in rows.get(name, {})}
        for name, by_seed in run(plan, missing, [seed], lambda seed: Bench(preset, seed, options.bank), write).items():
            rows.setdefault(name, {}).update(by_seed)
        if options.out:
            write_results(options.out, {"protocol": protocol, "rows": rows})
    write(f"\n{words_table(rows)}\n\n{miou_table(rows)}")
    if options.failures:
        engine = Bench(preset, options.seeds[0], options.bank).engine()
        words = ask(engine, crowded, FAILURES_SIZE, options.vocabularies)
        draw_failures(failures(engine, crowded, words)).save(options.failures, optimize=True)


if __name__ == "__main__":
    main()
