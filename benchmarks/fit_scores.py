"""The weights of the drawn world's region scores, fitted on scenes: the table [scores] of its preset.

    OMP_NUM_THREADS=1 python -m benchmarks.fit_scores

It takes the same regions as benchmarks.calibration, of other scenes: those of the split `thresholds`, with three
generation seeds. It prints the table, which replaces the one in ovdiff/presets/tinyworld.toml, and the errors of the
fitted scores on the scenes that they were fitted on. Three minutes of processor time, and two more if no earlier run
left the prototypes in runs/bank. Run it whenever the embedded models or settings of the segmentation change.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.calibration import Words, by_kind, errors_table, is_right, measure, rescored
from benchmarks.drawn_world import BANK, SEEDS, Bench, changes_of, encode_crowded, encode_scenes, vary
from ovdiff import Bank, Engine, load_preset
from ovdiff.calibration import JudgedRegion, fit_scores, scores_to_toml

SPLIT = "thresholds"


def judged(regions: Words) -> list[JudgedRegion]:
    """Return regions as the fit takes them."""
    return [JudgedRegion(each.evidence, each.kind == "stuff", is_right(each)) for each in regions if each.evidence]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--preset", default="tinyworld")
    parser.add_argument("--first", type=int, default=0, help="the number of the first crowded scene")
    parser.add_argument("--usual-first", type=int, default=2000, help="the number of the first usual scene")
    parser.add_argument("--scenes", type=int, default=40, help="how many crowded scenes, and how many usual ones")
    parser.add_argument("--vocabularies", type=int, default=1, help="random vocabularies of each size and scene")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--set", nargs="+", default=[], metavar="SECTION.FIELD=VALUE", help="change the preset")
    parser.add_argument("--bank", type=Path, default=BANK, help="where prototypes are kept")
    return parser.parse_args()


def main(write: Callable[[str], None] = print) -> None:
    """Measure, fit, and print the table and the errors that are left."""
    options = arguments()
    torch.set_num_threads(1)
    preset = vary(load_preset(options.preset), **changes_of(options.set))
    encoder = Engine(preset, Bank(options.bank))
    crowded = range(options.first, options.first + options.scenes)
    usual = range(options.usual_first, options.usual_first + options.scenes)
    scenes = {"crowded": encode_crowded(encoder, SPLIT, crowded), "usual": encode_scenes(encoder, SPLIT, usual)}
    found = {}
    for seed in options.seeds:
        engine = Bench(preset, seed, options.bank).engine()
        found[seed] = {name: measure(engine, some, options.vocabularies) for name, some in scenes.items()}
    fitted = fit_scores([region for of in found.values() for some in of.values() for region in judged(some)])
    write(scores_to_toml(fitted))
    rows = {
        str(seed): {name: by_kind(rescored(some, fitted)) for name, some in of.items()} for seed, of in found.items()
    }
    write(errors_table(rows))


if __name__ == "__main__":
    main()
