"""Why do parts and more support images add so little on the drawn world? What Eq. 4's cosines say, in a few minutes.

    OMP_NUM_THREADS=1 python -m benchmarks.prototype_margins --out benchmarks/results/prototype_margins.json

The method is the published one on Stable Diffusion's features alone, without the prefilter, so that nothing but the
prototypes decides. For each pixel of a test scene that one of the 19 words names, the *right* cosine is the score of
that word (Eq. 4), and the *wrong* one the best score of any other word or of background. Their difference is the
margin; a pixel is right where it is above zero. More prototypes can only raise cosines, right and wrong ones alike.

The last table looks at the prototypes alone: how much those of one word are alike, and how much those of two words.
Prototypes that earlier runs left in the bank are used again.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks.drawn_world import BANK, EVERYTHING, SEEDS, encode_scenes, true_labels, vary
from benchmarks.spreads import markdown_table, spread_text, write_results
from ovdiff import Bank, Engine, Preset, load_preset
from ovdiff.bank.prototypes import KINDS, Prototypes
from ovdiff.evaluation.rows import PUBLISHED, Changes, with_changes
from ovdiff.segmenting.matching import score_maps
from ovdiff.segmenting.segmenter import enlarge
from ovdiff.tinyworld.world import THINGS

SPACE = "stable_diffusion"
SUPPORT = {f"N = {images}": {"generation": {"images": images}} for images in (1, 2, 4, 8, 16)}
PARTS = {f"K = {parts}": {"prototypes": {"parts": parts}} for parts in (2, 8, 32)}
ONLY = {f"{kind} alone": {"matching": {"kinds": [kind]}} for kind in KINDS}
ROWS: Mapping[str, Changes] = {**SUPPORT, **PARTS, **ONLY}
"""The rows of the first table: what each changes of the published method."""

WORDS = {"things": range(1, len(THINGS) + 1), "stuff": range(len(THINGS) + 1, len(EVERYTHING.categories) + 1)}
"""The class ids of both kinds of words, each with a table of its own: a scene has far more pixels of stuff."""

_COLUMNS = ("right", "wrong", "margin", "pixels right")


def margins(scores: NDArray[np.float32], labels: NDArray[np.int32]) -> dict[str, float]:
    """Return the means of the right and the wrong cosine over labelled pixels, of their margin, and the share above 0.

    Args:
        scores: (C, H, W) cosines; background is class 0.
        labels: (H, W) the class of each pixel; pixels of class 0 are left out. If all are, every figure is NaN.
    """
    named = labels > 0
    if not named.any():
        return dict.fromkeys(_COLUMNS, float("nan"))
    columns, classes = scores[:, named], labels[named]
    places = np.arange(columns.shape[1])
    right = columns[classes, places]
    others = columns.copy()
    others[classes, places] = -np.inf
    wrong = others.max(axis=0)
    figures = (right, wrong, right - wrong, right > wrong)
    return {name: float(np.mean(each)) for name, each in zip(_COLUMNS, figures, strict=True)}


def likeness(sets: Sequence[Prototypes]) -> dict[str, float]:
    """Return how much prototypes of words are alike, as mean cosines.

    Args:
        sets: the foreground prototypes of each word.

    Returns:
        ``instances of a word``, of pairs of its support images; ``instances of two words``, of an image with the most
        similar image of any other word; ``a part and its nearest instance`` of the same word.
    """
    instances = [_unit(each.vectors[each.kinds == KINDS.index("instance")]) for each in sets]
    parts = [_unit(each.vectors[each.kinds == KINDS.index("part")]) for each in sets]
    within = [float((one @ one.T)[~np.eye(len(one), dtype=bool)].mean()) for one in instances if len(one) > 1]
    across = []
    for word, one in enumerate(instances):
        rest = np.concatenate([other for number, other in enumerate(instances) if number != word])
        across.append(float((one @ rest.T).max(axis=1).mean()))
    nearest = [float((part @ one.T).max(axis=1).mean()) for part, one in zip(parts, instances, strict=True)]
    return {
        "instances of a word": float(np.mean(within)),
        "instances of two words": float(np.mean(across)),
        "a part and its nearest instance": float(np.mean(nearest)),
    }


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return F.normalize(torch.from_numpy(vectors), dim=1).numpy()


def measure_seed(preset: Preset, seed: int, numbers: Iterable[int], bank: Bank) -> dict[str, Any]:
    """Return the figures of all rows and the likeness of the usual prototypes, for one generation seed."""
    bare = with_changes(PUBLISHED, {"prefilter": {"enabled": False}, "generation": {"seed": seed}})
    usual = Engine(vary(preset, **bare), bank)
    scenes = encode_scenes(usual, "test", numbers)
    rows: dict[str, dict[str, float]] = {}
    for name, changes in ROWS.items():
        engine = usual.beside(vary(preset, **with_changes(bare, changes)), bank)
        for category in EVERYTHING.categories:
            engine.build(category)
        tables = engine._segmenter.tables.of(EVERYTHING)
        found: dict[str, list[dict[str, float]]] = {kind: [] for kind in WORDS}
        for encoded, names in zip(scenes.encoded, scenes.label_maps, strict=True):
            everything = range(len(EVERYTHING.categories))
            maps = score_maps(encoded, tables, everything, engine.preset, torch.device("cpu"))
            scores, labels = enlarge(maps.scores, names.shape).numpy(), true_labels(names, EVERYTHING)
            for kind, words in WORDS.items():
                found[kind].append(margins(scores, np.where(np.isin(labels, list(words)), labels, 0)))
        rows[name] = {kind: _means(found[kind]) for kind in WORDS}
    sets = [bank.load(usual.category_key(category)).spaces[SPACE].foreground for category in EVERYTHING.categories]
    return {"seed": seed, "rows": rows, "likeness": likeness(sets)}


def _means(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each figure over the scenes; a scene without any such pixel counts in none."""
    return {column: float(np.nanmean([each[column] for each in figures])) for column in _COLUMNS}


def margins_table(seeds: Sequence[Mapping[str, Any]], kind: str) -> str:
    """Return the figures of the pixels of things or of stuff as Markdown, means and deviations over the seeds."""
    rows = [
        (name, *(spread_text([each["rows"][name][kind][column] for each in seeds]) for column in _COLUMNS))
        for name in ROWS
    ]
    return markdown_table((f"pixels of {kind}", *_COLUMNS), rows)


def likeness_table(seeds: Sequence[Mapping[str, Any]]) -> str:
    """Return how much prototypes are alike as Markdown, means and deviations over the seeds."""
    rows = [(name, spread_text([each["likeness"][name] for each in seeds])) for name in seeds[0]["likeness"]]
    return markdown_table(("cosine of", "mean"), rows)


def main() -> None:
    """Measure, print the tables, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--bank", type=Path, default=BANK)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    preset = load_preset("tinyworld")
    measured = [measure_seed(preset, seed, range(given.scenes), Bank(given.bank)) for seed in given.seeds]
    for kind in WORDS:
        print(margins_table(measured, kind) + "\n")
    print(likeness_table(measured))
    if given.out is not None:
        write_results(given.out, {"scenes": given.scenes, "seeds": measured})


if __name__ == "__main__":
    main()
