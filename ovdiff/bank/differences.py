"""What differs between two prototype sets, in words and in cosine. Loads no model and never imports torch.

::

    moved(extractor, side) = cos(class prototype of one set, class prototype of the other)
    nearest(p)             = max over the other set's prototypes q of the side of  cos(p, q)

The words come from the cards: phrases, settings, weights, images, curation. The cosines come from the arrays; a part of
k-means has no counterpart by number, so each prototype is compared with the nearest one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.card import Card
from ovdiff.bank.judgement import word_state
from ovdiff.bank.prototypes import KINDS, Prototypes, PrototypeSet

_SIDES = ("foreground", "background")


@dataclass(frozen=True)
class Difference:
    """One fact that differs: what it is, and how it is in either set ("" where a set has it not)."""

    what: str
    first: str
    second: str


@dataclass(frozen=True)
class Move:
    """How far one side of a category is apart in one extractor's space.

    Attributes:
        extractor: the extractor.
        side: "foreground" or "background".
        moved: the cosine of both class prototypes; ``None`` if a set has none.
        nearest: the mean, over the prototypes of the first set, of the cosine to the nearest one of the second.
        most_changed: the prototype of the first set that is farthest from all of the second: "part 12".
        farthest: its cosine to the nearest one.
    """

    extractor: str
    side: str
    moved: float | None
    nearest: float | None
    most_changed: str
    farthest: float | None


def card_differences(first: Card, second: Card) -> tuple[Difference, ...]:
    """Return what two cards say differently of how their sets were made."""
    before, after = dict(_facts(first)), dict(_facts(second))
    names = [*before, *(name for name in after if name not in before)]
    pairs = ((name, before.get(name, ""), after.get(name, "")) for name in names)
    return tuple(Difference(*each) for each in pairs if each[1] != each[2])


def moves(first: PrototypeSet, second: PrototypeSet) -> tuple[Move, ...]:
    """Return how far two sets are apart, for each side and each extractor that both have with the same depth."""
    return tuple(
        _move(name, side, getattr(first.spaces[name], side), getattr(second.spaces[name], side))
        for name in sorted(first.spaces.keys() & second.spaces.keys())
        for side in _SIDES
        if getattr(first.spaces[name], side).vectors.shape[1] == getattr(second.spaces[name], side).vectors.shape[1]
    )


def _facts(card: Card) -> Iterator[tuple[str, str]]:
    """Yield each fact of a card with its value as text."""
    yield "phrases", "; ".join(card.phrases)
    yield "preset", card.preset
    yield from _flat("settings", card.parameters)
    yield from _flat("weights", card.models)
    yield from _flat("parts", card.parts)
    yield "support images", card.support_key[:12]
    yield "seeds of drawn images", _text(card.image_seeds)
    yield "images with a foreground", str(card.images_with_foreground)
    yield "images refused as unsafe", str(card.refused_images)
    yield "images rejected", _text(card.curation.get("rejected", ()))
    yield "exemplars", _text(address[:12] for address in card.curation.get("exemplars", ()))
    yield "bans", _text(address[:12] for address in card.curation.get("bans", ()))
    yield "drawn", "yes" if card.curation.get("draw", True) else "no"
    yield "word", word_state(card.judgement)
    yield from _flat("library", card.library_versions)


def _flat(name: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the values of nested tables under names such as "settings generation.seed"."""
    between = "." if " " in name else " "
    for key, value in sorted(values.items()):
        if isinstance(value, Mapping):
            yield from _flat(f"{name}{between}{key}", value)
        else:
            yield f"{name}{between}{key}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str | int | float | bool) or value is None:
        return str(value)
    return ", ".join(map(str, value))


def _move(name: str, side: str, first: Prototypes, second: Prototypes) -> Move:
    if not (len(first.vectors) and len(second.vectors)):
        return Move(name, side, None, None, "", None)
    ours, theirs = _unit(first.vectors), _unit(second.vectors)
    nearest = (ours @ theirs.T).max(axis=1)
    row = int(nearest.argmin())
    kind = KINDS[first.kinds[row]]
    number = int((first.kinds[:row] == first.kinds[row]).sum())
    moved = float(ours[first.kinds == 0][0] @ theirs[second.kinds == 0][0])
    most_changed = kind if kind == "class" else f"{kind} {number}"
    return Move(name, side, moved, float(nearest.mean()), most_changed, float(nearest[row]))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    unit: NDArray[np.float64] = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    return unit
