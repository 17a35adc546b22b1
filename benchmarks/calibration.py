"""Is a score of 0.8 right eight times in ten? Scores of regions against whether the regions are right.

    python -m benchmarks.calibration --out benchmarks/results/calibration.json --picture docs/reliability.png
    python -m benchmarks.calibration --split thresholds --first 0 --usual-first 2000

Crowded and usual drawn scenes are asked for random vocabularies, as in benchmarks.absent_words. Every word that was
given a pixel is a region, and it is right if its IoU with the word's true mask is 0.5 or more. Six minutes of processor
time for three generation seeds. It prints Markdown tables: the expected calibration error (ECE) with ten bins of equal
width, and with ten of equal mass; and the bins themselves. Beside the preset's scores stand the mean cosines of the
same regions, and with ``--label-free`` scores that were fitted on the support images of each seed, which takes three
more minutes a seed. docs/measurements.md says more.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.asked_words import KINDS, SceneWord, ask
from benchmarks.drawn_world import (
    BANK,
    CROWDED_FIRST,
    EVERYTHING,
    SEEDS,
    Bench,
    Scenes,
    changes_of,
    encode_crowded,
    encode_scenes,
    vary,
)
from benchmarks.reliability_picture import Panel, draw_reliability
from benchmarks.spreads import markdown_table, spread_text, write_results
from converters.metrics.reliability import BIN_COUNT, USEFUL_IOU, Reliability, ReliabilityCounter
from ovdiff import Bank, Engine, load_preset
from ovdiff.calibration import fit_scores, support_regions
from ovdiff.evaluation.asked_words import Figures, auroc
from ovdiff.presets.segmenting_settings import ScoreSettings
from ovdiff.region_scores import RegionScoring

COLUMNS = ("ECE", "ECE, equal mass", "mean score", "share right", "AUROC")
SIZES = (2, 4, 8, 19)
MEAN_COSINE, LABEL_FREE = "mean cosine", "fitted on support images"
Words = Sequence[SceneWord]


def regions_of(words: Words) -> list[SceneWord]:
    """Return the words that were given a pixel."""
    return [word for word in words if word.painted > 0]


def is_right(region: SceneWord) -> bool:
    """Say whether so much of a region is right that a person would rather correct it than draw it anew."""
    return region.iou >= USEFUL_IOU


def reliability(regions: Words) -> Reliability:
    """Return the bins of equal width; being right takes the place of being accepted by a person."""
    counter = ReliabilityCounter()
    for region in regions:
        counter.add(region.score, region.iou, is_right(region))
    return counter.result()


def equal_mass_error(regions: Words) -> float | None:
    """Return the expected calibration error with ten bins of as many regions each, by rising score."""
    ordered = sorted(regions, key=lambda region: region.score)
    if not ordered:
        return None
    gaps = np.array([region.score - is_right(region) for region in ordered])
    return float(sum(abs(part.sum()) for part in np.array_split(gaps, BIN_COUNT)) / len(ordered))


def region_figures(regions: Words) -> Figures:
    """Return the figures of some regions. ``AUROC`` is about pairs of a right region and a wrong one."""
    right = [region.score for region in regions if is_right(region)]
    wrong = [region.score for region in regions if not is_right(region)]
    return {
        "ECE": reliability(regions).acceptance_error,
        "ECE, equal mass": equal_mass_error(regions),
        "mean score": float(np.mean(right + wrong)) if regions else None,
        "share right": len(right) / len(regions) if regions else None,
        "AUROC": auroc(right, wrong),
        "regions": len(regions),
    }


def by_kind(regions: Words) -> dict[str, Figures]:
    """Return the figures of all regions, and those of things and of stuff."""
    figures = {"all": region_figures(regions)}
    for kind in KINDS:
        figures[kind] = region_figures([region for region in regions if region.kind == kind])
    return figures


def errors_table(rows: Mapping[str, Mapping[str, Mapping[str, Figures]]]) -> str:
    """Return the Markdown table of errors: a line for each sort of scenes and each kind of region."""
    seeds = list(rows.values())
    lines = []
    for scenes, kinds in seeds[0].items():
        for kind in kinds:
            cells = [spread_text([seed[scenes][kind][column] for seed in seeds]) for column in COLUMNS]
            lines.append([scenes, kind, *cells])
    return markdown_table(("scenes", "regions", *COLUMNS), lines)


def bins_table(bins: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return the Markdown table of the bins of equal width: how many regions, their mean score, the share right."""
    lines = []
    for number, first in enumerate(next(iter(bins.values()))):
        cells = [f"{first['low']:.1f} to {first['high']:.1f}"]
        for each in bins.values():
            part = each[number]
            cells += [str(part["regions"]), spread_text([part["mean_score"]]), spread_text([part["accepted_share"]])]
        lines.append(cells)
    head = [f"{scenes}: {column}" for scenes in bins for column in ("regions", "mean score", "share right")]
    return markdown_table(("score", *head), lines)


def measure(engine: Engine, scenes: Scenes, vocabularies: int) -> list[SceneWord]:
    """Return the regions of all scenes, asked for random vocabularies of each size."""
    return [word for size in SIZES for word in regions_of(ask(engine, scenes, size, vocabularies))]


def rescored(regions: Words, scores: ScoreSettings) -> list[SceneWord]:
    """Return the same regions with the scores that other settings would give them."""
    model = RegionScoring(scores, KINDS, frozenset([KINDS.index("stuff")]))
    return [
        replace(each, score=model.score(KINDS.index(each.kind), each.evidence)) for each in regions if each.evidence
    ]


def variants(regions: Mapping[str, Words], others: Mapping[str, ScoreSettings]) -> dict[str, Words]:
    """Return the regions of each sort of scenes, and behind them the same with other scores, by a name for each."""
    found = dict(regions)
    for said, scores in others.items():
        found |= {f"{name}, {said}": rescored(some, scores) for name, some in regions.items()}
    return found


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--preset", default="tinyworld")
    parser.add_argument("--split", choices=("thresholds", "test"), default="test")
    parser.add_argument("--first", type=int, default=CROWDED_FIRST, help="the number of the first crowded scene")
    parser.add_argument("--usual-first", type=int, default=0, help="the number of the first usual scene")
    parser.add_argument("--scenes", type=int, default=40, help="how many crowded scenes, and how many usual ones")
    parser.add_argument("--vocabularies", type=int, default=2, help="random vocabularies of each size and scene")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--set", nargs="+", default=[], metavar="SECTION.FIELD=VALUE", help="change the preset")
    parser.add_argument("--label-free", action="store_true", help="also scores that are fitted on the support images")
    parser.add_argument("--bank", type=Path, default=BANK, help="where prototypes are kept")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path, help="a PNG of the reliability diagrams")
    return parser.parse_args()


def main(write: Callable[[str], None] = print) -> None:
    """Measure, print the tables, and write the figures and the picture."""
    options = arguments()
    torch.set_num_threads(1)
    preset = vary(load_preset(options.preset), **changes_of(options.set))
    encoder = Engine(preset, Bank(options.bank))
    scenes = {
        "crowded": encode_crowded(encoder, options.split, range(options.first, options.first + options.scenes)),
        "usual": encode_scenes(
            encoder, options.split, range(options.usual_first, options.usual_first + options.scenes)
        ),
    }
    found: dict[str, list[SceneWord]] = {}
    rows, fitted = {}, {}
    for seed in options.seeds:
        begun, engine = time.monotonic(), Bench(preset, seed, options.bank).engine()
        regions = {name: measure(engine, some, options.vocabularies) for name, some in scenes.items()}
        others = {MEAN_COSINE: ScoreSettings("mean_cosine")}
        if options.label_free:
            others[LABEL_FREE] = fit_scores(list(support_regions(engine, EVERYTHING)))
            fitted[str(seed)] = asdict(others[LABEL_FREE])
        rows[str(seed)] = {name: by_kind(some) for name, some in variants(regions, others).items()}
        for name, some in variants(regions, others).items():
            found.setdefault(name, []).extend(some)
        write(f"seed {seed}: {time.monotonic() - begun:.0f} s")
    bins = {name: [asdict(each) for each in reliability(found[name]).bins] for name in scenes}
    write(f"\n{errors_table(rows)}\n\n{bins_table(bins)}")
    if options.out:
        said = ("split", "first", "usual_first", "scenes", "vocabularies", "set")
        protocol = {name: getattr(options, name) for name in said}
        write_results(options.out, {"protocol": protocol, "rows": rows, "bins": bins, "label-free weights": fitted})
    if options.picture:
        draw_reliability([Panel(name, reliability(some)) for name, some in found.items()]).save(options.picture)


if __name__ == "__main__":
    main()
