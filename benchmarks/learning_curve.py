"""How masks get better with every annotated image: crowded drawn scenes, lessons from other scenes, nothing trained.

    OMP_NUM_THREADS=1 python -m benchmarks.learning_curve --out benchmarks/results/learning_curve.json
    python -m benchmarks.learning_curve --scenes 12 --seeds 42 --counts 0 2 8
    python -m benchmarks.learning_curve --split thresholds --first 20000 --taught-first 30000 --seeds 45 46

The first command labels 40 scenes with all 19 words and with four random words each, after 0, 1, 2, 4, 8, 16 and 32
lessons, with three generation seeds and for each of them other taught scenes. It takes ten minutes on one thread. No
lesson comes from a scene that is labelled. Settings are chosen on ``--split thresholds``; what is reported is the
``test`` split. ``--picture docs/learning-curve.png`` draws the curve.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from benchmarks.asked_words import ask, word_figures
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
from ovdiff.learning.annotation import Annotation

COUNTS = (0, 1, 2, 4, 8, 16, 32)
TAUGHT_FIRST = 60_000
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
        self.engine = Engine(vary(bench.preset, cache={"disk_mib": 0}), bank)

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


def measure(pupil: Pupil, scenes: Scenes) -> Row:
    """Return the figures of one number of lessons."""
    engine = pupil.engine
    engine.label(scenes.encoded[0], EVERYTHING)  # What lessons say is worked out once; it is timed as learning below.
    begun = time.process_time()
    found = mious(engine, scenes)
    seconds = (time.process_time() - begun) / len(scenes.numbers)
    few = [word for word in ask(engine, scenes, FEW_WORDS, 1) if word.kind == "things"]
    return {"miou": found, "label_s": seconds, "few": word_figures(few)}


def curve(bench: Bench, scenes: Scenes, taught: Scenes, counts: Sequence[int]) -> dict[str, Row]:
    """Return the figures after each number of lessons, which are taken in the order of the taught scenes."""
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        pupil, done = Pupil(bench, Path(folder) / "bank"), 0
        for count in counts:
            spent = pupil.learn(taught, range(done, count))
            begun = time.process_time()
            pupil.engine.label(scenes.encoded[0], EVERYTHING)
            fitted = time.process_time() - begun
            row = measure(pupil, scenes)
            row["lesson_s"] = spent / (count - done) if count > done else 0.0
            row["fit_s"] = max(0.0, fitted - row["label_s"])
            rows[str(count)], done = row, count
        shutil.rmtree(folder, ignore_errors=True)
    return rows


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


_WIDTH_PX, _HEIGHT_PX, _EDGE_PX = 720, 400, 64
_INK, _PALE, _ALL, _THINGS = "#202020", "#dddddd", "#1f5fa8", "#c05a1c"


def draw_curve(rows: Mapping[str, Mapping[str, Row]]) -> Image.Image:
    """Return the learning curve as an RGB picture: mIoU by the number of lessons, the mean and every seed."""
    picture = Image.new("RGB", (_WIDTH_PX, _HEIGHT_PX), "white")
    draw = ImageDraw.Draw(picture)
    counts = [int(count) for count in next(iter(rows.values()))]
    values = [row["miou"][name] for seed in rows.values() for row in seed.values() for name in ("all", "things")]
    low, high = np.floor(min(values) * 20) / 20, min(1.0, np.ceil(max(values) * 20) / 20)
    span = _WIDTH_PX - 2 * _EDGE_PX, _HEIGHT_PX - 2 * _EDGE_PX

    def at(place: int, value: float) -> tuple[float, float]:
        across = _EDGE_PX + span[0] * place / max(1, len(counts) - 1)
        return across, _HEIGHT_PX - _EDGE_PX - span[1] * (value - low) / (high - low)

    for tick in np.arange(low, high + 1e-9, 0.05):
        draw.line([at(0, tick), at(len(counts) - 1, tick)], fill=_PALE)
        draw.text((_EDGE_PX - 8, at(0, tick)[1]), f"{tick:.2f}", fill=_INK, font=_font(12), anchor="rm")
    for place, count in enumerate(counts):
        draw.text((at(place, low)[0], _HEIGHT_PX - _EDGE_PX + 8), str(count), fill=_INK, font=_font(12), anchor="ma")
    for name, colour, title in (
        ("all", _ALL, "all 19 words and background"),
        ("things", _THINGS, "things and background"),
    ):
        lines = [[row["miou"][name] for row in seed.values()] for seed in rows.values()]
        for line in lines:
            draw.line([at(place, value) for place, value in enumerate(line)], fill=_mixed(colour), width=1)
        means = [fmean(column) for column in zip(*lines, strict=True)]
        draw.line([at(place, value) for place, value in enumerate(means)], fill=colour, width=3)
        draw.text(at(len(counts) - 1, means[-1] + 0.012), title, fill=colour, font=_font(13), anchor="rs")
        for place, value in enumerate(means):
            draw.text(_above(at(place, value)), f"{value:.2f}", fill=colour, font=_font(11), anchor="mt")
    draw.text((_EDGE_PX, 16), "mIoU of crowded drawn scenes", fill=_INK, font=_font(15))
    draw.text((_WIDTH_PX / 2, _HEIGHT_PX - 22), "annotated images", fill=_INK, font=_font(13), anchor="ms")
    return picture


def _above(place: tuple[float, float]) -> tuple[float, float]:
    return place[0], place[1] + 6


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
    parser.add_argument("--split", choices=["thresholds", "test"], default="test")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--bank", type=Path, default=BANK)
    parser.add_argument("--preset", default="tinyworld")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    preset, most, rows = load_preset(options.preset), max(options.counts), {}
    scenes = None
    for draw, seed in enumerate(options.seeds):
        bench = Bench(preset, seed, options.bank)
        if scenes is None:  # An encoding does not depend on the generation seed.
            scenes = encode_crowded(bench.engine(), options.split, range(options.first, options.first + options.scenes))
        begin = options.taught_first + draw * most
        taught = encode_crowded(bench.engine(), options.split, range(begin, begin + most))
        rows[str(seed)] = curve(bench, scenes, taught, options.counts)
        print(
            f"seed {seed}: " + ", ".join(f"{c}: {r['miou']['all']:.3f}" for c, r in rows[str(seed)].items()), flush=True
        )
    print(f"\n{table(rows)}\n\n{costs(rows)}")
    if options.picture:
        draw_curve(rows).save(options.picture)
    if options.out:
        names = ("scenes", "first", "taught_first", "split", "counts", "preset")
        write_results(options.out, {"protocol": {name: getattr(options, name) for name in names}, "rows": rows})


if __name__ == "__main__":
    main()
