"""The worst answers of a benchmark as a picture: each scene, its truth, what was painted, and which words are wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from backend.presentation.overlay import label_colours
from benchmarks.asked_words import SceneWord
from benchmarks.drawn_world import EVERYTHING, Scenes, true_labels
from ovdiff import Engine, Vocabulary

_TILE_PX, _GAP_PX, _LINE_PX = 120, 4, 14
_PER_ROW = 3
_MOST_LINES = 4
_COLOURS = 64
"""A palette of so many colours keeps the file small and the drawn scenes recognisable."""


@dataclass(frozen=True)
class Failure:
    """One answer: the image (H, W, 3) uint8, two label maps (H, W) of 1 + the index of a word, and lines of text."""

    image: NDArray[np.uint8]
    truth: NDArray[np.int32]
    painted: NDArray[np.int32]
    lines: tuple[str, ...]


def worst_answers(words: Sequence[SceneWord], count: int) -> list[list[SceneWord]]:
    """Return the words of the worst answers, the worst first, and no scene twice.

    How bad an answer is: the share of the scene that was given to absent words, and of each present word the share
    that is missing or wrong.
    """
    answers = [list(group) for _, group in groupby(words, key=lambda word: (word.scene, word.vocabulary))]
    worst: dict[int, list[SceneWord]] = {}
    for answer in sorted(answers, key=_badness, reverse=True):
        worst.setdefault(answer[0].scene, answer)
    return [answer for answer in worst.values() if any(map(fault, answer))][:count]


def fault(word: SceneWord) -> str | None:
    """Say what is wrong with a word; None if nothing is that the tables count as wrong."""
    if word.is_absent and word.is_painted:
        return f"{word.name} {word.score:.2f} is not there, {word.painted:.0%} painted"
    if word.is_present and not word.is_painted:
        return f"{word.name} is missed, {word.truth:.0%} of the scene"
    if word.is_present and word.iou < 0.5:
        return f"{word.name} {word.score:.2f} has IoU {word.iou:.2f}"
    return None


def failures(engine: Engine, scenes: Scenes, words: Sequence[SceneWord], count: int = 12) -> list[Failure]:
    """Label the scenes of the worst answers once more, and return them as pictures.

    Args:
        engine: the engine that gave the answers.
        scenes: all scenes that were asked.
        words: every word that was asked for, in the order of the answers.
        count: how many failures are shown.
    """
    found = []
    for answer in worst_answers(words, count):
        place = scenes.numbers.index(answer[0].scene)
        names = answer[0].vocabulary
        vocabulary = Vocabulary(tuple(each for each in EVERYTHING.categories if each.name in names))
        of_world = np.array([0, *(EVERYTHING.categories.index(each) + 1 for each in vocabulary.categories)], np.int32)
        painted = engine.label(scenes.encoded[place], vocabulary).label_map
        truth = true_labels(scenes.label_maps[place], vocabulary)
        faults = [text for text in map(fault, answer) if text]
        lines = (f"scene {answer[0].scene}, asked for {', '.join(names)}", *faults)
        found.append(Failure(scenes.images[place], of_world[truth], of_world[painted], lines))
    return found


def draw_failures(failures: Sequence[Failure]) -> Image.Image:
    """Return the sheet: three failures a row, each as image, truth and what was painted, with its faults below."""
    cell_wh = 3 * (_TILE_PX + 1) + 2 * _GAP_PX, _TILE_PX + (_MOST_LINES + 1) * _LINE_PX
    rows, legend_px = -(-len(failures) // _PER_ROW), 2 * _LINE_PX + 3 * _GAP_PX
    sheet = Image.new("RGB", (_PER_ROW * cell_wh[0], rows * cell_wh[1] + legend_px), "white")
    draw = ImageDraw.Draw(sheet)
    for number, failure in enumerate(failures):
        row, column = divmod(number, _PER_ROW)
        _draw_failure(sheet, draw, failure, column * cell_wh[0] + _GAP_PX, row * cell_wh[1] + _GAP_PX)
    _draw_legend(draw, rows * cell_wh[1] + _GAP_PX, sheet.width)
    return sheet.quantize(_COLOURS, dither=Image.Dither.NONE)


def _draw_failure(sheet: Image.Image, draw: ImageDraw.ImageDraw, failure: Failure, left: int, top: int) -> None:
    colours = label_colours(len(EVERYTHING.categories))
    for place, pixels in enumerate((failure.image, colours[failure.truth], colours[failure.painted])):
        tile = Image.fromarray(pixels).resize((_TILE_PX, _TILE_PX), Image.Resampling.BOX)
        sheet.paste(tile, (left + place * (_TILE_PX + 1), top))
    for number, line in enumerate(failure.lines[:_MOST_LINES]):
        draw.text((left, top + _TILE_PX + 2 + number * _LINE_PX), _cut(line), fill="black", font=_font())


def _draw_legend(draw: ImageDraw.ImageDraw, top: int, width: int) -> None:
    colours, names = label_colours(len(EVERYTHING.categories)), [each.name for each in EVERYTHING.categories]
    step = width // 10
    for number, name in enumerate(["none of them", *names]):
        row, column = divmod(number, 10)
        x, y = _GAP_PX + column * step, top + row * (_LINE_PX + _GAP_PX)
        red, green, blue = colours[number].tolist()
        draw.rectangle((x, y + 1, x + 11, y + 12), fill=(red, green, blue))
        draw.text((x + 15, y), name, fill="black", font=_font())


def _cut(line: str) -> str:
    """Return a line that is no wider than its three tiles."""
    while _font().getlength(line) > 3 * _TILE_PX:
        line = line[:-2] + "…"
    return line


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(11)


def _badness(answer: Sequence[SceneWord]) -> float:
    return sum(word.painted if word.is_absent else word.truth * (1 - word.iou) for word in answer)
