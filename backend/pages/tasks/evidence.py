"""Why a pixel has its label, as a page tells it; and the mask that a smart keypoint there would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backend.errors import RequestError
from backend.pages.served_pictures import ServedPictures
from backend.pages.tasks.layers import colours_of, masks_layer
from backend.presentation.explanation_picture import draw_tile, prototype_rows, roles, shown_finalists
from backend.presentation.taught_text import taught_lines
from backend.presentation.verdict import clip_sentence, removal_sentences, verdict
from backend.serving.looking import Sight
from backend.serving.predicting.interactive import Prompt, prompt_to_mask
from backend.serving.predicting.limits import shown_score
from ovdiff.bank.support import SupportImage
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.encodings import Explains, ScoresPlaces
from ovdiff.explaining.explanation import Explanation, SupportPlace
from ovdiff.segmentation import PlaceScores

TILE_PX = 144
TILES = 4
PROTOTYPES = 3
"""Of a finalist; these have most of its votes."""
BACKGROUND = "background"

STEPS = {
    "votes": "The prototypes vote: whose features are most like the pixel's.",
    "lessons": "Annotated images say what looks like this.",
    "PAMR": "Borders follow the colours of the image.",
    "part check": "CLIP looks at the whole part, and may give it another name.",
    "uncertain stuff": "Stuff that no voter is sure of gives way.",
    "small parts": "Specks are given to what surrounds them.",
    "holes": "Holes are filled.",
}
"""What each step does, for people."""


@dataclass(frozen=True)
class Tile:
    """A support image with the place that a prototype came from."""

    picture: str
    number: int
    share: float


@dataclass(frozen=True)
class ShownPrototype:
    """A prototype of a finalist: its share of the finalist's votes, its mean cosine, and the places it came from."""

    title: str
    extractor: str
    share: float
    cosine: float
    tiles: tuple[Tile, ...]
    missing: str


@dataclass(frozen=True)
class Finalist:
    """A word that won or nearly did."""

    name: str
    score: float
    role: str
    is_anchor: bool
    prototypes: tuple[ShownPrototype, ...]


@dataclass(frozen=True)
class Step:
    """The pixel after a step: its label, whether the step changed it, and the finalists' scores, "" where none are."""

    name: str
    what: str
    label: str
    has_changed: bool
    scores: tuple[str, ...]


@dataclass(frozen=True)
class Why:
    """An explanation.

    Attributes:
        verdict: who won and by how much, in sentences.
        winner, runner_up: their names; `runner_up` is "" if nothing else competed.
        margin: the winner's lead by votes.
        rivals: the names of the columns of the steps' scores.
        steps: what each step made of the pixel.
        finalists: the two that matter, with their prototypes.
        taught: what lessons say, in lines.
        clip: what CLIP saw in the part; "" if it did not look.
        removed: what the prefilter removed, in sentences.
    """

    verdict: str
    winner: str
    runner_up: str
    margin: float
    rivals: tuple[str, ...]
    steps: tuple[Step, ...]
    finalists: tuple[Finalist, ...]
    taught: tuple[str, ...]
    clip: str
    removed: tuple[str, ...]


@dataclass(frozen=True)
class SmartClick:
    """What a smart keypoint would give: the label of the place, the mask as a picture, its share and its score."""

    label: str
    masks: str
    share: float
    score: float


@dataclass(frozen=True)
class Claims:
    """How strongly each word claims a pixel, the strongest first; below `least` a word is not drawn."""

    words: tuple[tuple[str, float], ...]
    least: float


@dataclass(frozen=True)
class Evidence:
    """What is told of a pixel.

    Attributes:
        x, y: the pixel.
        label: its label in the end.
        score, margin: the label's score there, and by how much it leads.
        why: the explanation; None if the engine gives none.
        claims: the words' scores, from an engine that does not explain but scores places; else None.
        click: what a smart keypoint there would give; None where there is background.
    """

    x: int
    y: int
    label: str
    score: float
    margin: float
    why: Why | None
    claims: Claims | None
    click: SmartClick | None


def evidence(
    sight: Sight, place: tuple[int, int], engine: SegmentationEngine, pictures: ServedPictures, size: tuple[int, int]
) -> Evidence:
    """Say why a pixel of a task's image has its label.

    Cost: an encoding of the image unless it is kept, and a pass over support images for prototypes of parts.

    Args:
        sight: the image.
        place: (x, y) in px of the image.
        engine: the method.
        pictures: where pictures go.
        size: (width, height) of the picture of the mask.

    Raises:
        RequestError: the pixel is not in the image.
        OVDiffError: the engine cannot explain the image.
    """
    x, y = place
    height, width = sight.pixels.shape[:2]
    if not (0 <= x < width and 0 <= y < height):
        raise RequestError(
            f"The pixel {x},{y} lies outside the image of {width} x {height} px: x goes from 0 to {width - 1}, and y "
            f"from 0 to {height - 1}."
        )
    why, claims = None, None
    if isinstance(engine, Explains):
        why = _why(engine.explain(engine.encode(sight.pixels), sight.vocabulary, place), pictures)
    elif isinstance(engine, ScoresPlaces):
        scores = engine.place_scores(engine.encode(sight.pixels), sight.vocabulary, place)
        claims = _claims(scores, [output.label for output in sight.outputs])
    seen, number = sight.segmentation, int(sight.segmentation.label_map[y, x])
    label = sight.outputs[number - 1].label if number else BACKGROUND
    score, margin = float(seen.scores[y, x]), float(seen.margins[y, x])
    return Evidence(x, y, label, score, margin, why, claims, _click(sight, place, pictures, size))


def _claims(scores: PlaceScores, labels: Sequence[str]) -> Claims:
    words = sorted(zip(labels, scores.scores, strict=True), key=lambda word: -word[1])
    return Claims(tuple(words), scores.least)


def _click(sight: Sight, place: tuple[int, int], pictures: ServedPictures, size: tuple[int, int]) -> SmartClick | None:
    """Return what the smart keypoint tool would be answered; the label is that of the place, as nobody chose one."""
    height, width = sight.pixels.shape[:2]
    labels = [output.label for output in sight.outputs]
    x, y = ((value + 0.5) / side * 100 for value, side in zip(place, (width, height), strict=True))
    prompt = Prompt(sight.image, "", x, y, 0.0, 0.0, 0.0, is_point=True, is_positive=True)
    mask = prompt_to_mask(prompt, sight.segmentation, labels)
    if not mask.any():
        return None
    index = int(sight.segmentation.label_map[place[1], place[0]]) - 1
    layer = masks_layer(mask.astype(np.uint8), [colours_of(sight.outputs)[index]], size)
    score = shown_score(sight.segmentation.region_score(index, mask))
    return SmartClick(labels[index], pictures.add(layer), float(mask.mean()), score)


def _why(found: Explanation, pictures: ServedPictures) -> Why:
    winner = found.rivals[found.winner]
    second = None if found.runner_up is None else found.rivals[found.runner_up]
    return Why(
        verdict=verdict(found),
        winner=winner.name,
        runner_up="" if second is None else second.name,
        margin=winner.score if second is None else winner.score - second.score,
        rivals=tuple(found.rivals[place].name for place in found.finalists()),
        steps=_steps(found),
        finalists=tuple(_finalist(found, place, pictures) for place in shown_finalists(found)),
        taught=tuple(line.strip() for line in taught_lines(found)),
        clip=clip_sentence(found.part) if found.part else "",
        removed=tuple(removal_sentences(found)) if found.removed else (),
    )


def _steps(found: Explanation) -> tuple[Step, ...]:
    steps, before = [], None
    for stage in found.stages:
        scores = tuple(_shown(stage.scores[place]) if stage.scores else "" for place in found.finalists())
        changed = before is not None and stage.label != before
        steps.append(Step(stage.name, STEPS.get(stage.name, ""), found.name(stage.label), changed, scores))
        before = stage.label
    return tuple(steps)


def _shown(score: float) -> str:
    """Return a score as text; -1, the least cosine, is given to what must not win."""
    return "out" if score <= -1 else f"{score:.3f}"


def _finalist(found: Explanation, place: int, pictures: ServedPictures) -> Finalist:
    rival = found.rivals[place]
    prototypes = []
    for row in prototype_rows(found, place)[:PROTOTYPES]:
        source = row.source
        images = found.support[source.prototype.category].images if source.places else ()
        tiles = tuple(_tile(images[shown.image], shown, pictures) for shown in source.places[:TILES])
        title = found.title(source.prototype)
        prototypes.append(
            ShownPrototype(title, source.prototype.extractor, row.share, row.cosine, tiles, source.missing)
        )
    return Finalist(rival.name, rival.score, roles(found, place), rival.is_anchor, tuple(prototypes))


def _tile(item: SupportImage, place: SupportPlace, pictures: ServedPictures) -> Tile:
    picture = draw_tile(item.image, place, side_px=TILE_PX)
    return Tile(pictures.add(picture), item.number, float(place.cells.mean()))
