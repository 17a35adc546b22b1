"""How masks get better with every annotated image: crowded drawn scenes, lessons from other scenes, nothing trained.

    OMP_NUM_THREADS=1 python -m benchmarks.learning_curve --out benchmarks/results/learning_curve.json
    python -m benchmarks.learning_curve --scenes 12 --seeds 42 --counts 0 2 8
    python -m benchmarks.learning_curve --split thresholds --first 20000 --taught-first 30000 --seeds 45 46

The first command labels 40 scenes with all 19 words and with four random words each, after 0, 1, 2, 4, 8, 16 and 32
lessons, with three generation seeds and for each of them a pool of 64 other scenes to learn from. No lesson comes from
a scene that is labelled. The scenes of the pool are taken in two orders: by chance, and as `ovdiff next-tasks` orders
them, asked again at each count. Both have the same number of corrected regions at each count, or one scene's more. It
takes a quarter of an hour on one thread. Settings are chosen on ``--split thresholds``; what is reported is the
``test`` split. ``--picture docs/learning-curve.png`` draws the curve.
"""

import argparse
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from benchmarks.asked_words import ask
from benchmarks.drawn_world import (
    BANK,
    CROWDED_FIRST,
    EVERYTHING,
    SEEDS,
    Bench,
    Scenes,
    encode_crowded,
    mious,
    true_labels,
    vary,
)
from benchmarks.spreads import markdown_table, spread_text, write_results
from ovdiff import Bank, Engine, load_preset
from ovdiff.evaluation.asked_words import word_figures
from ovdiff.learning.annotation import Annotation
from ovdiff.learning.next_tasks import choose

COUNTS = (0, 1, 2, 4, 8, 16, 32)
TAUGHT_FIRST, POOL = 60_000, 64
FEW_WORDS = 4

Row = dict[str, Any]


class Pupil:
    """An engine with a bank of its own, which is given lessons one after another."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        """Copy the prototypes, so that lessons stay out of the bank of other measurements."""
        builder = bench.engine()
        bank = Bank(folder)
        for category in EVERYTHING.categories:
            key = builder.category_key(category)
            bank.save(key, builder.bank.load(key), builder.bank.card(key))
        self.engine = Engine(vary(bench.preset, cache={"disk_mib": 0, "features_mib": 2048}), bank)

    def learn(self, scenes: Scenes, numbers: Iterable[int]) -> float:
        """Take the lessons of some scenes, by their places in ``scenes``; return the seconds of processor time."""
        spent = 0.0
        for number in numbers:
            said = Annotation(true_labels(scenes.label_maps[number], EVERYTHING), EVERYTHING)
            self.engine.encode(scenes.images[number])  # A service has encoded the image when it predicted it.
            begun = time.process_time()
            self.engine.learn(scenes.images[number], said)
            spent += time.process_time() - begun
        return spent

    def next_scenes(self, pool: Scenes, taken: Sequence[int], regions: int) -> list[int]:
        """Return the places of the scenes that `ovdiff next-tasks` puts first, until they have so many regions."""
        left = [place for place in range(len(pool.numbers)) if place not in taken]
        scored = [(place, self.engine.task_score(pool.images[place], EVERYTHING)) for place in left]
        known = [(place, score) for place, score in scored if score is not None]
        order = [known[each.index][0] for each in choose([score for _, score in known])]
        counts = np.cumsum([regions_of(pool, place) for place in order])
        return order[: int(np.searchsorted(counts, regions)) + 1] if regions > 0 else []


def regions_of(scenes: Scenes, place: int) -> int:
    """Return how many regions a person draws in a scene: one for each word that it shows."""
    return len(np.unique(true_labels(scenes.label_maps[place], EVERYTHING))) - 1


def measure(pupil: Pupil, scenes: Scenes) -> Row:
    """Return the figures of one number of lessons."""
    engine = pupil.engine
    engine.label(scenes.encoded[0], EVERYTHING)  # What lessons say is worked out once; it is timed as learning below.
    begun = time.process_time()
    found = mious(engine, scenes)
    seconds = (time.process_time() - begun) / len(scenes.numbers)
    few = [word for word in ask(engine, scenes, FEW_WORDS, 1) if word.kind == "things"]
    return {"miou": found, "label_s": seconds, "few": word_figures(few)}


def curve(bench: Bench, scenes: Scenes, pool: Scenes, counts: Sequence[int], *, chosen: bool = False) -> dict[str, Row]:
    """Return the figures after each number of lessons.

    Args:
        bench: the prototypes.
        scenes: the scenes that are labelled.
        pool: the scenes to learn from.
        counts: numbers of lessons, ascending; in the chosen order as many as have the same number of regions.
        chosen: whether `ovdiff next-tasks` orders the pool; otherwise its own order is taken, which is chance.
    """
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        pupil, taken = Pupil(bench, Path(folder) / "bank"), list[int]()
        for count in counts:
            if chosen:
                wanted = sum(regions_of(pool, place) for place in range(count))
                missing = wanted - sum(regions_of(pool, place) for place in taken)
                new = pupil.next_scenes(pool, taken, missing)
            else:
                new = list(range(len(taken), count))
            spent = pupil.learn(pool, new)
            taken += new
            begun = time.process_time()
            pupil.engine.label(scenes.encoded[0], EVERYTHING)
            fitted = time.process_time() - begun
            row = measure(pupil, scenes)
            row["regions"] = sum(regions_of(pool, place) for place in taken)
            row["lesson_s"] = spent / len(new) if new else 0.0
            row["fit_s"] = max(0.0, fitted - row["label_s"])
            rows[str(count)] = row
    return rows


def orders_table(rows: Mapping[str, Mapping[str, Row]], chosen: Mapping[str, Mapping[str, Row]]) -> str:
    """Return the Markdown table of both orders: a line for each number of lessons by chance."""
    lines = []
    for count in next(iter(rows.values())):
        pairs = [(rows[seed][count], chosen[seed][count]) for seed in chosen]
        gains = [new["miou"]["all"] - old["miou"]["all"] for old, new in pairs]
        lines.append([
            count,
            f"{fmean(old['regions'] for old, _ in pairs):.0f} / {fmean(new['regions'] for _, new in pairs):.0f}",
            spread_text([old["miou"]["all"] for old, _ in pairs]),
            spread_text([new["miou"]["all"] for _, new in pairs]),
            f"{fmean(gains):+.3f}",
            f"{min(gains):+.3f}",
        ])  # fmt: skip
    head = ("lessons", "regions, chance / chosen", "mIoU by chance", "as `next-tasks` says", "gain", "least gain")
    return markdown_table(head, lines)


def table(rows: Mapping[str, Mapping[str, Row]]) -> str:
    """Return the Markdown table of the curve: a line for each number of lessons."""
    seeds = list(rows.values())
    lines = []
    for count in seeds[0]:
        found = [seed[count] for seed in seeds]
        start = [seed["0"] for seed in seeds]
        gains = [new["miou"]["all"] - old["miou"]["all"] for new, old in zip(found, start, strict=True)]
        slower = median(new["label_s"] / old["label_s"] for new, old in zip(found, start, strict=True))
        lines.append([
            count,
            spread_text([row["miou"]["all"] for row in found]),
            spread_text([row["miou"]["things"] for row in found]),
            f"{fmean(gains):+.3f}",
            f"{min(gains):+.3f}",
            spread_text([row["few"]["iou of the present"] for row in found]),
            spread_text([row["few"]["absent painted"] for row in found]),
            f"{slower:.2f}",
        ])  # fmt: skip
    head = ("lessons", "mIoU", "of things", "gain", "least gain", "four words: IoU", "absent painted", "cost")
    return markdown_table(head, lines)


def costs(rows: Mapping[str, Mapping[str, Row]]) -> str:
    """Say what lessons cost."""
    found = [row for seed in rows.values() for count, row in seed.items() if count != "0"]
    lesson, fit = (median(row[name] for row in found) for name in ("lesson_s", "fit_s"))
    most = max(rows[next(iter(rows))], key=int)
    slowest = max(seed[most]["fit_s"] for seed in rows.values())
    return (
        f"A lesson took {lesson:.2f} s of processor time (median) for an image that had been encoded before, and the "
        f"first image after a lesson {fit:.2f} s more; {slowest:.2f} s with {most} lessons."
    )


_WIDTH_PX, _HEIGHT_PX, _EDGE_PX = 720, 420, 64
_INK, _PALE, _ALL, _THINGS, _CHOSEN = "#202020", "#dddddd", "#1f5fa8", "#c05a1c", "#2c8a4b"

Lines = list[list[float]]
"""The values of each seed."""


def draw_curve(
    rows: Mapping[str, Mapping[str, Row]], chosen: Mapping[str, Mapping[str, Row]] | None = None
) -> Image.Image:
    """Return the learning curve as an RGB picture: mIoU by the number of lessons, the mean and every seed."""
    counts = list(next(iter(rows.values())))
    curves = [
        ("all 19 words and background", _ALL, _lines(rows, "all")),
        ("things and background", _THINGS, _lines(rows, "things")),
    ]
    if chosen:
        curves.insert(0, ("all 19 words, images as `ovdiff next-tasks` orders them", _CHOSEN, _lines(chosen, "all")))
    values = [value for _, _, lines in curves for line in lines for value in line]
    frame = _Frame(len(counts), float(np.floor(min(values) * 20) / 20), min(1.0, float(np.ceil(max(values) * 20) / 20)))
    picture = Image.new("RGB", (_WIDTH_PX, _HEIGHT_PX), "white")
    draw = ImageDraw.Draw(picture)
    for tick in np.arange(frame.low, frame.high + 1e-9, 0.05):
        draw.line([frame.at(0, tick), frame.at(len(counts) - 1, tick)], fill=_PALE)
        draw.text((_EDGE_PX - 8, frame.at(0, tick)[1]), f"{tick:.2f}", fill=_INK, font=_font(12), anchor="rm")
    for place, count in enumerate(counts):
        draw.text((frame.at(place, 0)[0], _HEIGHT_PX - 52), count, fill=_INK, font=_font(12), anchor="ma")
    for number, (title, colour, lines) in enumerate(reversed(curves)):
        for line in lines:
            draw.line([frame.at(place, value) for place, value in enumerate(line)], fill=_mixed(colour), width=1)
        means = [fmean(column) for column in zip(*lines, strict=True)]
        draw.line([frame.at(place, value) for place, value in enumerate(means)], fill=colour, width=3)
        draw.text(frame.at(len(counts) - 1, means[-1], 8), f"{means[-1]:.2f}", fill=colour, font=_font(12), anchor="lm")
        draw.text(
            (_WIDTH_PX - _EDGE_PX - 8, _HEIGHT_PX - 84 - 18 * number), title, fill=colour, font=_font(13), anchor="rs"
        )
    draw.text((_EDGE_PX, 20), "mIoU of crowded drawn scenes", fill=_INK, font=_font(15))
    draw.text((_WIDTH_PX / 2, _HEIGHT_PX - 12), "annotated images", fill=_INK, font=_font(13), anchor="ms")
    return picture


@dataclass(frozen=True)
class _Frame:
    """Where values are drawn: evenly spaced columns, and rows from ``low`` to ``high``."""

    columns: int
    low: float
    high: float

    def at(self, column: int, value: float, aside: float = 0.0) -> tuple[float, float]:
        across = _EDGE_PX + (_WIDTH_PX - 2 * _EDGE_PX) * column / max(1, self.columns - 1)
        height = _HEIGHT_PX - 2 * _EDGE_PX
        return across + aside, _HEIGHT_PX - _EDGE_PX - height * (value - self.low) / (self.high - self.low)


def _lines(rows: Mapping[str, Mapping[str, Row]], name: str) -> Lines:
    return [[row["miou"][name] for row in seed.values()] for seed in rows.values()]


def _mixed(colour: str) -> str:
    """Return a colour half way to white."""
    return "#" + "".join(f"{(int(colour[at : at + 2], 16) + 255) // 2:02x}" for at in (1, 3, 5))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a Markdown table, and write results and the picture where they were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--first", type=int, default=CROWDED_FIRST)
    parser.add_argument("--taught-first", type=int, default=TAUGHT_FIRST)
    parser.add_argument("--pool", type=int, default=POOL)
    parser.add_argument("--split", choices=["thresholds", "test"], default="test")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--bank", type=Path, default=BANK)
    parser.add_argument("--preset", default="tinyworld")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    preset, rows, chosen, scenes = load_preset(options.preset), {}, {}, None
    for draw, seed in enumerate(options.seeds):
        bench = Bench(preset, seed, options.bank)
        if scenes is None:  # An encoding does not depend on the generation seed.
            scenes = encode_crowded(bench.engine(), options.split, range(options.first, options.first + options.scenes))
        begin = options.taught_first + draw * options.pool
        pool = encode_crowded(bench.engine(), options.split, range(begin, begin + options.pool))
        rows[str(seed)] = curve(bench, scenes, pool, options.counts)
        chosen[str(seed)] = curve(bench, scenes, pool, options.counts, chosen=True)
        for name, found in (("by chance", rows), ("chosen", chosen)):
            figures = ", ".join(f"{count}: {row['miou']['all']:.3f}" for count, row in found[str(seed)].items())
            print(f"seed {seed}, {name}: {figures}", flush=True)
    print(f"\n{table(rows)}\n\n{costs(rows)}\n\n{orders_table(rows, chosen)}")
    if options.picture:
        draw_curve(rows, chosen).save(options.picture)
    if options.out:
        names = ("scenes", "first", "taught_first", "pool", "split", "counts", "preset")
        protocol = {name: getattr(options, name) for name in names}
        write_results(options.out, {"protocol": protocol, "rows": rows, "chosen": chosen})


if __name__ == "__main__":
    main()
