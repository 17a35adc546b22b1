"""What a change of a category would do to an image of the project, before it is in force: the blast radius of it.

The image is encoded once and labelled twice: with the category as it is, and as it would be. For a change of its
support set a draft of the engine builds the category again; nothing is drawn, and what is built is found when the
change is applied. Other prompts are on trial already, so nothing is built for them.

Tested by tests/backend/pages/test_preview_routes.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.errors import RequestError
from backend.pages.asked_changes import Act
from backend.pages.pictures import to_png
from backend.pages.tasks.layers import colours_of, hex_of
from backend.presentation.overlay import tint
from backend.serving.looking import Sight
from backend.serving.projects import id_of
from backend.serving.service import Service
from ovdiff.blast_radius import BACKGROUND, Side, compare, merged_names, predict_both, shared_ids
from ovdiff.curation.curation import UNCURATED, Curation
from ovdiff.engines.curating import Curates
from ovdiff.engines.encodings import HasEncodings
from ovdiff.vocabulary import Category, Vocabulary

SIDE_PX = 480
"""The longer side of a picture: four stand beside each other on a wide screen, or one on a telephone."""

PICTURES = ("The image", "Before", "After", "What changes")
_FADED = 0.25  # of the colours where nothing changes


@dataclass(frozen=True)
class Move:
    """Pixels that change from one label to another: both names, and the share of the image."""

    before: str
    after: str
    share: float


@dataclass(frozen=True)
class Preview:
    """What a change would do to an image.

    Attributes:
        task: the task whose image it is.
        share: the share of the image's pixels that would have another label, in [0, 1].
        moves: what would become what, the most pixels first.
        legend: the labels in the pictures, each with its colour as "#rrggbb".
        pictures: PNGs, as `PICTURES` names them.
        before: the curation that was in force.
        after: the curation that was tried; None if other prompts were tried, which are taken in the label config.
        left_out: the labels that are not ready, and so are in neither picture, as text.
    """

    task: int
    share: float
    moves: tuple[Move, ...]
    legend: tuple[tuple[str, str], ...]
    pictures: tuple[bytes, ...]
    before: Curation = UNCURATED
    after: Curation | None = None
    left_out: str = ""


@dataclass(frozen=True)
class Asked:
    """What is to be previewed: a change of a category of a project, on the image of a task (None: the first one).

    Exactly one of `act`, a change of its support set, and `tried`, the category with other prompts, is given.
    """

    project: str
    category: Category
    task: int | None
    act: Act | None = None
    tried: Category | None = None


def make_preview(service: Service, asked: Asked) -> Preview:
    """Return what a change would do.

    Cost: one encoding of the image, or none if it is kept, and for a change of a support set one build without drawing.

    Raises:
        RequestError: the engine cannot try changes, or the category is not ready.
        BackendError, OVDiffError: the image cannot be had, or the change is not possible.
    """
    engine = service.engine
    if not isinstance(engine, Curates) or not isinstance(engine, HasEncodings):
        raise RequestError(f"The engine {engine.preset.engine!r} has no words that can be changed and tried.")
    draft, after, now = engine.drafting(), None, asked.tried or asked.category
    if not engine.has(asked.category):
        raise RequestError(f"{asked.category.name!r} is not ready, so there is no before. Wait until it is made.")
    before = draft.curator.curation(asked.category)
    if asked.act is not None:
        after = asked.act(draft.curator, asked.category)
        draft.build(asked.category)
    with _opened(service, asked) as sight:
        changed = [now if each == asked.category else each for each in sight.vocabulary.categories]
        seen = _seen(sight, Side(engine, sight.vocabulary), Side(draft, Vocabulary(changed)))
    return replace(seen, before=before, after=after)


@contextmanager
def _opened(service: Service, asked: Asked) -> Iterator[Sight]:
    """Look at the task that is asked for, or at the first of the project."""
    number = id_of(asked.project)
    if number is None:
        raise RequestError(f"The project {asked.project!r} has no number, so Label Studio cannot be asked for a task.")
    task = asked.task
    if task is None:
        first = service.looking.tasks(service.looking.project(number), 0, 1).tasks
        if not first:
            raise RequestError(f"Project {number} has no task to look at. Import one.")
        task = first[0].id
    outputs = service.labelling(asked.project).outputs
    image = next(output.image.name for output in outputs if output.category == asked.category)
    with service.looking.opened(number, task, image) as sight:
        yield sight


def _seen(sight: Sight, before: Side, after: Side) -> Preview:
    segmentations = predict_both(before, after, sight.pixels)
    names = [output.category.name for output in sight.outputs]
    change = compare(*segmentations, (names, names))
    known = merged_names(names, names)
    first, second = (shared_ids(each, names, known) for each in segmentations)
    own = dict(reversed([*zip(names, colours_of(sight.outputs), strict=True)]))  # of several of a name the first one's
    colours = np.array([(0, 0, 0), *(own[name] for name in known[1:])], dtype=np.uint8)
    moves = sorted(change.moved.items(), key=lambda item: (-item[1], item[0]))
    return Preview(
        sight.task.id,
        change.share,
        tuple(Move(_name(old), _name(new), count / change.pixels) for (old, new), count in moves),
        _legend(known, colours, (first, second)),
        tuple(map(to_png, _pictures(sight.pixels, first, second, colours))),
        left_out=sight.snapshot.missing,
    )


def _pictures(
    image: NDArray[np.uint8], before: NDArray[np.int32], after: NDArray[np.int32], colours: NDArray[np.uint8]
) -> Sequence[NDArray[np.uint8]]:
    """Return the pictures of `PICTURES`, each of the image's proportions."""
    scale = SIDE_PX / max(image.shape[:2])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    first, second = (np.asarray(Image.fromarray(ids).resize(size, Image.Resampling.NEAREST)) for ids in (before, after))
    faded = (255 - (255.0 - small.mean(axis=2, keepdims=True).repeat(3, axis=2)) * _FADED).astype(np.uint8)
    tinted, changed = tint(small, first, colours), tint(small, second, colours)
    return small, tinted, changed, np.where((first != second)[..., None], changed, faded)


def _legend(
    known: Sequence[str], colours: NDArray[np.uint8], ids: Sequence[NDArray[np.int32]]
) -> tuple[tuple[str, str], ...]:
    shown = sorted({int(number) for each in ids for number in np.unique(each)} - {0})
    return tuple((known[number], hex_of(tuple(colours[number].tolist()))) for number in shown)


def _name(name: str) -> str:
    return "background" if name == BACKGROUND else name


def applied(service: Service, asked: Asked, preview: Preview) -> Preview:
    """Put a change in force that was previewed; return the preview of what undoes it.

    Raises:
        RequestError: somebody changed the category since, or it was a preview of other prompts.
        OVDiffError: the curation cannot be written.
    """
    engine = service.engine
    if preview.after is None or not isinstance(engine, Curates):
        raise RequestError("Other prompts are taken in the label config, in Label Studio; nothing was changed here.")
    curator = engine.curator
    if curator.curation(asked.category).identity() != preview.before.identity():
        raise RequestError(
            f"{asked.category.name!r} was changed since this was looked at, so nothing was done. Look at the change "
            "again."
        )
    curator.put(asked.category, preview.after)
    return replace(preview, before=preview.after, after=preview.before)
