"""How good are heads of ODISE? Drawn scenes with their truth: semantic, panoptic and instance figures.

    OMP_NUM_THREADS=1 python -m benchmarks.odise_quality ROW=FOLDER[,FOLDER...] ... --out benchmarks/results/odise.json

Each argument is a row of the tables: a name, and the heads of several trainings that differ in their seed. What names a
head was not trained for is told by its card: then seen and unseen words are reported apart. The threshold of the
background is chosen for each head and branch on scenes of the split `thresholds`; the figures are of the split `test`.
PQ is that of Kirillov et al., as `converters.metrics.panoptic_quality` counts it; AP is COCO's for masks of things,
by pycocotools.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.absent_words import earlier_rows
from benchmarks.asked_words import KINDS, ask
from benchmarks.drawn_world import BANK, CROWDED_FIRST, EVERYTHING, SEEDS, USUAL_PX, Bench, Scenes, encode_crowded
from benchmarks.instances import FoundMask, average_precision_of, segment_map
from benchmarks.spreads import markdown_table, spread_text, write_results
from converters.metrics.confusion import category_ious, confusion_matrix
from converters.metrics.panoptic_quality import SegmentMap, SegmentMatches, match_segments
from ovdiff import Bank, load_preset
from ovdiff.engines import load_any_preset
from ovdiff.evaluation.asked_words import word_figures
from ovdiff.models.loaded import LoadedModels
from ovdiff.odise.engine import EncodedMasks, OdiseEngine
from ovdiff.odise.head_file import read_card
from ovdiff.odise.outputs import enlarged
from ovdiff.odise.preset import OdisePreset
from ovdiff.tinyworld.world import THINGS, Split, render, sample_scene, segments_of

SCENES, CHOOSING = 200, 60
BACKGROUNDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
MIN_PX = 40
"""A thing of which less is seen is not counted by the recall of masks."""
Weights = tuple[float, float]
"""Alpha and beta: how much CLIP's branch counts for words that the head was trained on, and for others."""
WEIGHTS: Mapping[str, list[Weights]] = {"diffusion": [(0.0, 0.0)], "fused": [(0.3, 0.7)], "CLIP": [(1.0, 1.0)]}
"""The weights of each way to name masks; where there are several, scenes for choosing decide."""
CAPTION_WEIGHTS = [(0.35, beta) for beta in (0.65, 0.7, 0.75, 0.8, 0.85, 0.9)]
"""Those of heads that learned from captions: the published ones (C.3), and more of CLIP for unseen words."""


@dataclass(frozen=True)
class TrueSegments:
    """A drawn scene with its encoding and its truth: the segment of each pixel (S, S), and the segments' names."""

    encoded: EncodedMasks
    ids: NDArray[np.int32]
    names: list[str]


def encode_split(engine: OdiseEngine, split: Split, count: int) -> list[TrueSegments]:
    """Draw and encode the first scenes of a split."""
    found = []
    for number in range(count):
        drawn = render(sample_scene(number, split), USUAL_PX)
        found.append(TrueSegments(engine.encode(drawn.image), *segments_of(drawn)))
    return found


def with_weights(engine: OdiseEngine, alpha: float, beta: float, background: float) -> OdiseEngine:
    """Return an engine with other weights of CLIP's branch and another threshold, on the same models."""
    preset = engine.preset
    changed = replace(
        preset,
        fusion=replace(preset.fusion, alpha=alpha, beta=beta),
        outputs=replace(preset.outputs, background=background),
    )
    return engine.beside(changed, Bank(Path("runs/none")))


def semantic_ious(engine: OdiseEngine, scenes: Sequence[TrueSegments]) -> NDArray[np.float64]:
    """Return the IoU of background and of each word, over all scenes."""
    count = len(EVERYTHING.categories)
    total = np.zeros((count + 1, count + 1), dtype=np.int64)
    for scene in scenes:
        total += confusion_matrix(_true_labels(scene), engine.label(scene.encoded, EVERYTHING).label_map, count)
    return category_ious(total)


def choose(engine: OdiseEngine, scenes: Sequence[TrueSegments], weights: Sequence[Weights]) -> OdiseEngine:
    """Return the engine whose weights and threshold of the background give the best mIoU on scenes for choosing."""
    found = [best_background(engine, scenes, alpha, beta) for alpha, beta in weights]
    return max(found, key=lambda each: each[0])[1]


def best_background(
    engine: OdiseEngine, scenes: Sequence[TrueSegments], alpha: float, beta: float
) -> tuple[float, OdiseEngine]:
    """Return the best mIoU that a threshold of the background gives, and the engine with that threshold."""
    everywhere, count = with_weights(engine, alpha, beta, 0.0), len(EVERYTHING.categories)
    totals = dict.fromkeys(BACKGROUNDS, np.zeros((count + 1, count + 1), dtype=np.int64))
    for scene in scenes:
        found, truth = everywhere.label(scene.encoded, EVERYTHING), _true_labels(scene)
        for threshold in BACKGROUNDS:
            labels = np.where(found.scores > threshold, found.label_map, 0)
            totals[threshold] = totals[threshold] + confusion_matrix(truth, labels, count)
    means = {threshold: float(np.nanmean(category_ious(total))) for threshold, total in totals.items()}
    best = max(means, key=lambda threshold: means[threshold])
    return means[best], with_weights(engine, alpha, beta, best)


def _true_labels(scene: TrueSegments) -> NDArray[np.int32]:
    labels = np.array([0, *(EVERYTHING.names.index(name) + 1 for name in scene.names)], dtype=np.int32)
    return labels[scene.ids]


def panoptic_qualities(engine: OdiseEngine, scenes: Sequence[TrueSegments]) -> NDArray[np.float64]:
    """Return the PQ of each word, over all scenes. What has no label in the world is background, and not void."""
    count = len(EVERYTHING.categories)
    matches = SegmentMatches.none(count)
    for scene in scenes:
        found = engine.panoptic(scene.encoded, EVERYTHING)
        truth = SegmentMap(scene.ids, tuple(EVERYTHING.names.index(name) + 1 for name in scene.names))
        given = SegmentMap(found.ids.numpy(), tuple(segment.label + 1 for segment in found.segments))
        matches += match_segments(truth, given, count)
    return matches.panoptic_quality


def precision(engine: OdiseEngine, scenes: Sequence[TrueSegments]) -> tuple[float, float]:
    """Return COCO's mask AP over IoU .5 to .95, and AP at .5, of things."""
    true, given = [], []
    for scene in scenes:
        true.append(_true_things(scene.ids, scene.names))
        found = engine.instances(scene.encoded, EVERYTHING)
        rows = zip(found.labels.tolist(), found.scores.tolist(), found.masks.numpy(), strict=True)
        given.append(list(rows))
    return average_precision_of(true, given)


def _true_things(ids: NDArray[np.int32], names: Sequence[str]) -> list[FoundMask]:
    return [(THINGS.index(name), 1.0, ids == number) for number, name in enumerate(names, 1) if name in THINGS]


def recall(scenes: Sequence[TrueSegments], names: Sequence[str]) -> float:
    """Return the share of true segments of these names that some mask meets with an IoU above .5, whatever its name."""
    met, count = 0, 0
    for scene in scenes:
        masks = (enlarged(scene.encoded.logits, scene.encoded.size_hw) > 0.5).numpy()
        for number, name in enumerate(scene.names, 1):
            truth = scene.ids == number
            if name in names and np.count_nonzero(truth) >= MIN_PX:
                union = np.maximum((masks | truth).sum(axis=(1, 2)), 1)
                met += bool(((masks & truth).sum(axis=(1, 2)) / union).max() > 0.5)
                count += 1
    return met / max(1, count)


def figures(engine: OdiseEngine, scenes: Sequence[TrueSegments], unseen: Sequence[str]) -> dict[str, float]:
    """Return the figures of one head and one way to name its masks."""
    ious, qualities = semantic_ious(engine, scenes), panoptic_qualities(engine, scenes)
    found = _figures(ious, qualities, precision(engine, scenes))
    if unseen:
        apart = {"unseen": [EVERYTHING.names.index(name) for name in unseen]}
        apart["seen"] = [index for index in range(len(EVERYTHING.names)) if index not in apart["unseen"]]
        for which, indices in apart.items():
            found[f"mIoU {which}"] = float(np.nanmean(ious[[index + 1 for index in indices]]))
            found[f"PQ {which}"] = float(np.nanmean(qualities[indices]))
        found["recall unseen"] = recall(scenes, unseen)
    return found


def _figures(
    ious: NDArray[np.float64], qualities: NDArray[np.float64], precisions: tuple[float, float]
) -> dict[str, float]:
    things = [index for index, name in enumerate(EVERYTHING.names) if name in THINGS]
    stuff = [index for index in range(len(EVERYTHING.names)) if index not in things]
    return {
        "mIoU": float(np.nanmean(ious)),
        "mIoU things": float(np.nanmean(ious[[0, *(index + 1 for index in things)]])),
        "IoU background": float(ious[0]),
        "PQ": float(np.nanmean(qualities)),
        "PQ things": float(np.nanmean(qualities[things])),
        "PQ stuff": float(np.nanmean(qualities[stuff])),
        "AP": precisions[0],
        "AP50": precisions[1],
    }


def absent_words(engine: OdiseEngine, scenes: Scenes, sizes: Sequence[int]) -> dict[str, Any]:
    """Return the figures of :mod:`benchmarks.absent_words` for random vocabularies of some sizes."""
    found: dict[str, Any] = {}
    for size in sizes:
        words = ask(engine, scenes, size, 3)
        found[str(size)] = {kind: word_figures(word for word in words if word.kind == kind) for kind in KINDS}
    return found


def measure(folder: Path, options: argparse.Namespace, models: LoadedModels) -> dict[str, Any]:
    """Measure one head in all ways."""
    card = read_card(folder)
    engine = OdiseEngine(_preset_of(folder), models=models)
    unseen = [name for name in EVERYTHING.names if name.casefold() not in card.words()]
    choosing = encode_split(engine, "thresholds", options.choosing)
    scenes = encode_split(engine, "test", options.scenes)
    rows: dict[str, Any] = {}
    by_captions = engine.preset.classifier.void == "objectness"
    for way, usual in WEIGHTS.items():
        chosen = choose(engine, choosing, CAPTION_WEIGHTS if way == "fused" and by_captions else usual)
        settings = {"background": chosen.preset.outputs.background, "beta": chosen.preset.fusion.beta}
        rows[way] = {**figures(chosen, scenes, unseen), **settings}
        if way == "fused" and options.crowded and not unseen:
            crowded = encode_crowded(engine, "test", range(CROWDED_FIRST, CROWDED_FIRST + options.crowded))
            rows["absent words"] = absent_words(chosen, crowded, options.sizes)
    return rows


def measure_ovdiff(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Measure the first engine on the same scenes and words, with the support images of one generation seed."""
    engine = Bench(load_preset("tinyworld"), seed, options.bank).engine()
    count = len(EVERYTHING.categories)
    total, matches = np.zeros((count + 1, count + 1), dtype=np.int64), SegmentMatches.none(count)
    true: list[list[FoundMask]] = []
    given: list[list[FoundMask]] = []
    for number in range(options.scenes):
        drawn = render(sample_scene(number, "test"), USUAL_PX)
        ids, names = segments_of(drawn)
        labels = [EVERYTHING.names.index(name) + 1 for name in names]
        found = engine.segment(drawn.image, EVERYTHING)
        total += confusion_matrix(np.array([0, *labels], dtype=np.int32)[ids], found.label_map, count)
        objects = engine.with_instances(drawn.image, found, EVERYTHING)
        matches += match_segments(SegmentMap(ids, tuple(labels)), segment_map(objects), count)
        true.append(_true_things(ids, names))
        given.append([(each.index, each.score, each.mask) for each in objects.objects() if each.index < len(THINGS)])
    return _figures(category_ious(total), matches.panoptic_quality, average_precision_of(true, given))


def _preset_of(folder: Path) -> OdisePreset:
    """Return the embedded preset with another head, and the head's own architecture."""
    preset = load_any_preset("odise_tinyworld")
    if not isinstance(preset, OdisePreset):
        raise TypeError(f"odise_tinyworld is a preset of {preset.engine!r}")
    said = read_card(folder).architecture
    taps = {name: tuple(said[f"taps.{name}"]) for name in ("vae_encoder", "vae_decoder", "unet")}
    return replace(
        preset,
        taps=replace(preset.taps, **taps),
        models=replace(preset.models, head=replace(preset.models.head, source=str(folder.resolve()))),
        captioner=replace(preset.captioner, condition=said["captioner.condition"]),
        classifier=replace(preset.classifier, void=said["classifier.void"]),
    )


Rows = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Figures by the name of the row, the seed's number in the row, and the way to name masks."""

CLOSED = ("mIoU", "mIoU things", "IoU background", "PQ", "PQ things", "PQ stuff", "AP", "AP50")
OPEN = ("mIoU seen", "mIoU unseen", "PQ seen", "PQ unseen", "recall unseen", "IoU background")


WITH_ALL_TAPS = "empty text, short"
TAPS = "taps: "
"""How the names of rows begin whose heads lack taps; they have a table of their own."""


def closed_table(rows: Rows) -> str:
    """Return the Markdown table of the heads that know all words and have all taps."""
    return table({name: by_seed for name, by_seed in rows.items() if not name.startswith(TAPS)}, CLOSED)


def taps_table(rows: Rows) -> str:
    """Return the Markdown table of heads that lack taps, below the head that is trained alike and has all."""
    whole = {name: by_seed for name, by_seed in rows.items() if name == WITH_ALL_TAPS}
    return table({**whole, **{name: rows[name] for name in rows if name.startswith(TAPS)}}, CLOSED)


def table(rows: Rows, columns: Sequence[str]) -> str:
    """Return the Markdown table of the rows that have these columns: a line for each row and way.

    Heads that lack words are left out of a table that does not tell seen words from unseen ones.
    """
    lines = [
        [name, way, *(spread_text([seed[way][column] for seed in by_seed.values()]) for column in columns)]
        for name, by_seed in rows.items()
        for way, figures_of_way in next(iter(by_seed.values())).items()
        if columns[0] in figures_of_way and ("recall unseen" in columns) == ("recall unseen" in figures_of_way)
    ]
    return markdown_table(("head", "names by", *columns), lines)


def words_table(rows: Rows) -> str:
    """Return the Markdown table of absent and present words of heads that know all words."""
    columns = ("present painted", "absent painted", "area of the absent", "iou of the present")
    lines = []
    for name, by_seed in rows.items():
        seeds = [seed["absent words"] for seed in by_seed.values() if "absent words" in seed]
        for size in seeds[0] if seeds else ():
            for kind in KINDS:
                cells = [spread_text([seed[size][kind][column] for seed in seeds]) for column in columns]
                lines.append([name, size, kind, *cells])
    return markdown_table(("head", "words", "of them", *columns), lines)


def _rows_of(texts: Sequence[str]) -> Iterator[tuple[str, list[Path]]]:
    for text in texts:
        name, _, folders = text.partition("=")
        yield name, [Path(folder) for folder in folders.split(",")]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("rows", nargs="*", metavar="ROW=FOLDER[,FOLDER...]")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--choosing", type=int, default=CHOOSING, help="scenes for the threshold of the background")
    parser.add_argument("--crowded", type=int, default=0, help="crowded scenes that are asked for absent words")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4, 8, 19])
    parser.add_argument("--ovdiff", action="store_true", help="measure the first engine too, with three seeds")
    parser.add_argument("--bank", type=Path, default=BANK, help="where the first engine's prototypes are kept")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure, print the tables, and write the figures as JSON; other rows of the file are kept if it fits."""
    options = arguments()
    torch.set_num_threads(1)
    models = LoadedModels()
    protocol = {name: getattr(options, name) for name in ("scenes", "choosing")}
    rows = earlier_rows(options.out, protocol) if options.out else {}
    for name, folders in _rows_of(options.rows):
        rows[name] = {}
        for number, folder in enumerate(folders):
            begun = time.monotonic()
            rows[name][str(number)] = measure(folder, options, models)
            print(f"{name}, {folder}: {time.monotonic() - begun:.0f} s", flush=True)
            if options.out:
                write_results(options.out, {"protocol": protocol, "rows": rows})
    if options.ovdiff:
        rows["OVDiff"] = {}
        for seed in SEEDS:
            rows["OVDiff"][str(seed)] = {"prototypes": measure_ovdiff(seed, options)}
            print(f"OVDiff, seed {seed}", flush=True)
        if options.out:
            write_results(options.out, {"protocol": protocol, "rows": rows})
    print("\n\n".join((closed_table(rows), taps_table(rows), table(rows, OPEN), words_table(rows))))


if __name__ == "__main__":
    main()
