"""Whether explanations add up on test scenes, and what one costs beside segmenting.

    OMP_NUM_THREADS=1 python -m benchmarks.explanations --out benchmarks/results/explanations.json

It takes about three minutes of a processor with prototypes that were built before. For random pixels of crowded test
scenes, with all words of the world: the largest difference between the votes' sum and the score map; how often
explanation and segmentation name the same label, at the end and before refinement; which steps changed a label; seconds
of a processor.
"""

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drawn_world import BANK, CROWDED_FIRST, EVERYTHING, Bench, encode_crowded
from benchmarks.spreads import write_results
from ovdiff import Engine, load_preset
from ovdiff.explaining.explanation import Explanation
from ovdiff.segmenting.encoding import EncodedImage

PLAIN = {
    "part_check": {"enabled": False},
    "refine": {"pamr": False, "min_part_px": 0, "max_hole_px": 0},
}
"""What turns the preset into its votes alone."""


def look(found: Explanation, final: int, plain: int, maps: list[float]) -> dict[str, Any]:
    """Return how one explanation compares with what engines say of the same pixel.

    Args:
        found: the explanation.
        final: the pixel's label id by the whole preset.
        plain: its label id by the votes alone.
        maps: the score map of each rival at the pixel, enlarged to the image, before PAMR.
    """
    sums = [sum(vote.weight * vote.scores[rival] for vote in found.votes) for rival in range(len(found.rivals))]
    return {
        "difference": float(np.abs(np.subtract(sums, maps)).max()),
        "final": found.stages[-1].label == final,
        "before refinement": found.stages[0].label == plain,
        "changed by": [stage.name for stage in found.stages if stage.changed],
    }


def summary(looks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures over all pixels."""
    return {
        "pixels": len(looks),
        "largest difference": max(each["difference"] for each in looks),
        "same label at the end": sum(each["final"] for each in looks) / len(looks),
        "same label before refinement": sum(each["before refinement"] for each in looks) / len(looks),
        "changed by": dict(Counter(name for each in looks for name in each["changed by"])),
    }


def score_maps_at(engine: Engine, encoded: EncodedImage, x: int, y: int) -> list[float]:
    """Return the score of each class at a pixel of the image, before PAMR, from the whole score maps."""
    import torch

    from ovdiff.segmenting.segmenter import enlarge

    segmenter = engine._segmenter
    with engine._models.lock:
        votes = next(segmenter.steps(segmenter.match(encoded, EVERYTHING)))
        with torch.inference_mode():
            found: list[float] = enlarge(votes.maps.scores, encoded.size_hw)[:, y, x].tolist()
    return found


def main() -> None:
    """Measure, print the figures and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--scenes", type=int, default=5, help="crowded scenes of the test split")
    parser.add_argument("--pixels", type=int, default=8, help="random pixels of each scene")
    parser.add_argument("--bank", type=Path, default=BANK)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results: dict[str, Any] = {"protocol": {"scenes": options.scenes, "pixels": options.pixels}, "seeds": {}}
    for seed in options.seeds:
        bench, random = Bench(load_preset("tinyworld"), seed, options.bank), np.random.default_rng(seed)
        engine, plain = bench.engine(), bench.engine(PLAIN)
        looks, explain_s, label_s = [], [], []
        for encoded in encode_crowded(engine, "test", range(CROWDED_FIRST, CROWDED_FIRST + options.scenes)).encoded:
            begun = time.process_time()
            final = engine.label(encoded, EVERYTHING).label_map
            label_s.append(time.process_time() - begun)
            votes = plain.label(encoded, EVERYTHING).label_map
            for y, x in random.integers(0, encoded.size_hw, (options.pixels, 2)).tolist():
                begun = time.process_time()
                found = engine.explain(encoded, EVERYTHING, (x, y))
                explain_s.append(time.process_time() - begun)
                maps = score_maps_at(engine, encoded, x, y)
                looks.append(look(found, int(final[y, x]), int(votes[y, x]), maps))
        seconds = {"seconds to label": float(np.median(label_s)), "seconds to explain": float(np.median(explain_s))}
        results["seeds"][str(seed)] = {**summary(looks), **seconds}
        print(f"seed {seed}: {results['seeds'][str(seed)]}", flush=True)
    if options.out:
        write_results(options.out, results)


if __name__ == "__main__":
    main()
