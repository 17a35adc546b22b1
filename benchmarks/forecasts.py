"""Forecasts of the drawn world against what then happens in its scenes, and faults that were planted.

Command: ``python -m benchmarks.forecasts --seeds 42 43 44 --out benchmarks/results/forecasts.json``. It takes about ten
minutes on a free core, most of it for the scenes; ``--scenes 40`` takes three, and its truth is noisier.

**Real confusion** of two words, over as many crowded as usual scenes: the mean of the share of one word's true
pixels that were labelled with the other word, and of the share the other way round. Shares are of all true pixels of a
word, in all scenes together. **Real IoU** is that of `converters.metrics.confusion`, over the same scenes. Both are
compared with the forecast by Spearman's rank correlation, over the 171 pairs and over the 19 words. *Of half the
scenes* is the correlation of the real figures of every second scene with those of the others: it says how much of the
real figures is chance.

**Planted faults**: one of each sort in a vocabulary with three words of the world, other ones for each seed; the
forecast must have a finding that names the planted category.
**False alarms**: findings of forecasts of the 19 words, and of random subsets of six of them.

What was chosen (which witnesses, their scale, the limits of findings) was chosen on seeds 45 and 46, and on scenes of
the `thresholds` split.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.drawn_world import BANK, CROWDED_FIRST, EVERYTHING, Bench, encode_crowded, encode_scenes
from benchmarks.spreads import markdown_table, spread_text, write_results
from converters.metrics.confusion import category_ious, confusion_matrix
from ovdiff import Category, Engine, Vocabulary, load_preset
from ovdiff.forecasting.forecast import Forecast
from ovdiff.tinyworld.world import Split

SYNONYM = "a synonym as a second label"
FAULTS: dict[str, tuple[Category, ...]] = {
    SYNONYM: (
        Category("vehicle", ("car",)),
        Category("ship", ("boat",)),
        Category("timepiece", ("clock",)),
    ),
    "a word that the generator does not know": (Category("crab"), Category("piano"), Category("banana")),
    "a prompt that draws something else": (
        Category("boat", ("fish",)),
        Category("house", ("tree",)),
        Category("mug", ("umbrella",)),
    ),
}
SUBSETS, SUBSET_SIZE, WORDS_BESIDE = 2, 6, 3
Matrix = NDArray[np.int64]


def real_confusions(engines: dict[int, Engine], split: Split, scenes: int) -> dict[int, list[Matrix]]:
    """Return each engine's confusion matrices (20, 20), one a scene, crowded and usual scenes by turns."""
    found: dict[int, list[Matrix]] = {seed: [] for seed in engines}
    first = next(iter(engines.values()))
    for number in range(scenes):
        crowded = encode_crowded(first, split, [CROWDED_FIRST + number])
        usual = encode_scenes(first, split, [number])
        for drawn in (crowded, usual):
            (truth,), (encoded,) = drawn.truths(EVERYTHING), drawn.encoded
            for seed, engine in engines.items():
                labels = engine.label(encoded, EVERYTHING).label_map
                found[seed].append(confusion_matrix(truth, labels, len(EVERYTHING.categories)))
    return found


def pair_confusions(confusion: Matrix) -> NDArray[np.float64]:
    """Return the real confusion of each pair (P,), in the order of `pair_places`, from summed pixel counts."""
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    return ((shares + shares.T) / 2)[1:, 1:][pair_places(len(confusion) - 1)]  # type: ignore[no-any-return]


def pair_places(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the two indices of each pair of ``count`` words."""
    return np.triu_indices(count, 1)


def correlations(forecast: Forecast, matrices: Sequence[Matrix]) -> dict[str, float]:
    """Return Spearman's rank correlations of the forecast with the real figures, and of halves of these."""
    total, names = sum(matrices[1:], start=matrices[0]), [category.name for category in forecast.categories]
    risk = {frozenset((pair.first, pair.second)): pair.risk for pair in forecast.pairs}
    pairs = [risk[frozenset((names[a], names[b]))] for a, b in zip(*pair_places(len(names)), strict=True)]
    expected = [category.expected_iou for category in forecast.categories]
    halves = [sum(half[1:], start=half[0]) for half in _two_halves(matrices)]
    return {
        "confusion": rank_correlation(pairs, pair_confusions(total)),
        "iou": rank_correlation(expected, category_ious(total)[1:]),
        "confusion, of half the scenes": rank_correlation(*map(pair_confusions, halves)),
        "iou, of half the scenes": rank_correlation(*(category_ious(half)[1:] for half in halves)),
    }


def rank_correlation(first: Sequence[float | None] | NDArray[Any], second: Sequence[float] | NDArray[Any]) -> float:
    """Return Spearman's rank correlation of two sequences."""
    return float(spearmanr(np.asarray(first, dtype=float), np.asarray(second, dtype=float)).statistic)


def _two_halves(matrices: Sequence[Matrix]) -> tuple[list[Matrix], list[Matrix]]:
    """Return every second crowded and usual scene, and the others; they come by turns."""
    numbered = list(enumerate(matrices))
    return [m for i, m in numbered if i // 2 % 2 == 0], [m for i, m in numbered if i // 2 % 2]


def planted(engine: Engine, seed: int) -> dict[str, list[str]]:
    """Return the kinds of the findings that name each planted category, by the fault."""
    chosen = {fault: choices[seed % len(choices)] for fault, choices in FAULTS.items()}
    partners = [Category(phrase) for phrase in chosen[SYNONYM].phrases]  # A synonym needs its word.
    named = {name for each in (*chosen.values(), *partners) for name in (each.name, *each.phrases)}
    others = _words(np.random.default_rng(seed), WORDS_BESIDE, named)
    vocabulary = Vocabulary((*others, *partners, *chosen.values()))
    for each in vocabulary.categories:
        engine.build(each)
    findings = engine.forecast(vocabulary).findings
    return {
        f"{fault}: {each.name} = {'; '.join(each.phrases)}": [f.kind for f in findings if each.name in f.categories]
        for fault, each in chosen.items()
    }


def false_alarms(engine: Engine, seed: int, everything: Forecast) -> dict[str, list[str]]:
    """Return the findings for the 19 words and for random subsets of six, where there is nothing to find."""
    rng = np.random.default_rng(seed)
    subsets = [_words(rng, SUBSET_SIZE, set()) for _ in range(SUBSETS)]
    found = {f"all {len(everything.categories)}": [str(finding) for finding in everything.findings]}
    for words in subsets:
        findings = engine.forecast(Vocabulary(words)).findings
        found[", ".join(word.name for word in words)] = [str(finding) for finding in findings]
    return found


def _words(rng: np.random.Generator, count: int, without: set[str]) -> list[Category]:
    words = [category for category in EVERYTHING.categories if category.name not in without]
    return [words[index] for index in sorted(rng.choice(len(words), count, replace=False).tolist())]


def table(results: Any) -> str:
    """Return the correlations as a Markdown table, and the faults and false alarms in a sentence."""
    seeds = results["seeds"]
    rows = [
        [f"{what} ({over})", *(spread_text([one["correlations"][key] for one in seeds.values()]) for key in keys)]
        for what, over, keys in (
            ("confusion", "171 pairs", ("confusion", "confusion, of half the scenes")),
            ("IoU", "19 words", ("iou", "iou, of half the scenes")),
        )
    ]
    head = ["rank correlation", "forecast with real", "half of the scenes with the other half"]
    planted_all = [kinds for one in seeds.values() for kinds in one["planted"].values()]
    alarms = [findings for one in seeds.values() for findings in one["false alarms"].values()]
    said = results["protocol"]
    return "\n\n".join([
        markdown_table(head, rows),
        f"{sum(map(bool, planted_all))} of {len(planted_all)} planted faults were found. {len(alarms)} vocabularies "
        f"without a fault gave {sum(map(len, alarms))} findings.",
        f"*Measured on {said['scenes']} crowded and {said['scenes']} usual scenes of the split `{said['split']}`, "
        f"generation seeds {', '.join(seeds)}.*",
    ])  # fmt: skip


def main() -> None:
    """Measure, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--scenes", type=int, default=160, help="crowded scenes, and as many usual ones")
    parser.add_argument("--split", choices=("thresholds", "test"), default="test")
    parser.add_argument("--bank", type=Path, default=BANK)
    parser.add_argument("--matrices", type=Path, metavar="FILE.npz", help="keep the scenes' confusion matrices here")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    engines = {seed: Bench(load_preset("tinyworld"), seed, options.bank).engine() for seed in options.seeds}
    real = _real(engines, options.split, options.scenes, options.matrices)
    results: dict[str, Any] = {"protocol": {"scenes": options.scenes, "split": options.split}, "seeds": {}}
    for seed, engine in engines.items():
        everything = engine.forecast(EVERYTHING)
        results["seeds"][str(seed)] = {
            "correlations": correlations(everything, real[seed]),
            "planted": planted(engine, seed),
            "false alarms": false_alarms(engine, seed, everything),
        }
        print(f"seed {seed}: {results['seeds'][str(seed)]}", flush=True)
        if options.out:
            write_results(options.out, results)
    print(table(results))


def _real(engines: dict[int, Engine], split: Split, scenes: int, keep: Path | None) -> dict[int, list[Matrix]]:
    """Return the real confusion matrices; those that an earlier run kept are not measured again."""
    if keep is None or not keep.is_file():
        found = real_confusions(engines, split, scenes)
        if keep is not None:
            np.savez(keep, **{f"{split} {seed}": np.array(matrices) for seed, matrices in found.items()})
        return found
    with np.load(keep) as kept:
        return {seed: list(kept[f"{split} {seed}"][: 2 * scenes]) for seed in engines}


if __name__ == "__main__":
    main()
