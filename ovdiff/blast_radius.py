"""The blast radius of a change: which images, and which of their pixels, another vocabulary, preset or bank alters.

Each image is encoded once, and its encoding is matched twice, before the change and after it::

    moved(a, b) = the number of pixels with  name of label_before(p) = a  and  name of label_after(p) = b,   a != b
    changed     = the sum of moved over all pairs

Labels are compared by their names, so the order of two vocabularies does not matter. An image is encoded a second time
only if the change alters encodings themselves, as other windows do. Never imports torch.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovdiff.engines.encodings import HasEncodings
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Vocabulary

BACKGROUND = "(background)"
"""Stands for background among the names of labels."""

Move = tuple[str, str]
"""The name of a label before and after."""


@dataclass(frozen=True)
class Side:
    """What segments before the change, or after it."""

    engine: HasEncodings
    vocabulary: Vocabulary


@dataclass(frozen=True)
class Change:
    """What becomes of one image.

    Attributes:
        pixels: how many pixels the image has.
        moved: how many pixels had one label and have another now, by the names of both; equal labels are left out.
    """

    pixels: int
    moved: Mapping[Move, int]

    @property
    def changed(self) -> int:
        """How many pixels have another label now."""
        return sum(self.moved.values())

    @property
    def share(self) -> float:
        """The share of the image's pixels that have another label now, in [0, 1]."""
        return self.changed / self.pixels


@dataclass
class BlastRadius:
    """What becomes of many images, added one by one. It keeps a few numbers of each image that changes.

    Attributes:
        images: how many images were compared.
        pixels: how many pixels they have.
        changes: the images that change, by name.
    """

    images: int = 0
    pixels: int = 0
    changes: dict[str, Change] = field(default_factory=dict)

    def add(self, name: str, change: Change) -> None:
        """Count an image."""
        self.images += 1
        self.pixels += change.pixels
        if change.changed:
            self.changes[name] = change

    @property
    def changed(self) -> int:
        """How many pixels of all images have another label now."""
        return sum(change.changed for change in self.changes.values())

    def moves(self) -> list[tuple[Move, int, int]]:
        """Return what became what: both names, the pixels and the images in which it happens; the most pixels first."""
        pixels: Counter[Move] = Counter()
        images: Counter[Move] = Counter()
        for change in self.changes.values():
            pixels.update(change.moved)
            images.update(change.moved.keys())
        return [(move, count, images[move]) for move, count in pixels.most_common()]

    def most_changed(self) -> list[tuple[str, Change]]:
        """Return the images that change, the largest share of pixels first."""
        return sorted(self.changes.items(), key=lambda item: (-item[1].share, item[0]))

    def larger_than(self, share: float) -> int:
        """Return how many images change by more than this share of their pixels."""
        return sum(change.share > share for change in self.changes.values())

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; background is ``null`` among the names."""
        return {
            "images": self.images,
            "images_changed": len(self.changes),
            "pixels": self.pixels,
            "pixels_changed": self.changed,
            "moved": [
                {"before": _json_name(move[0]), "after": _json_name(move[1]), "pixels": pixels, "images": images}
                for move, pixels, images in self.moves()
            ],
            "most_changed": [
                {
                    "image": name,
                    "pixels": change.pixels,
                    "pixels_changed": change.changed,
                    "moved": [
                        {"before": _json_name(before), "after": _json_name(after), "pixels": count}
                        for (before, after), count in Counter(change.moved).most_common()
                    ],
                }
                for name, change in self.most_changed()
            ],
        }


def predict_both(before: Side, after: Side, image: NDArray[np.uint8]) -> tuple[Segmentation, Segmentation]:
    """Segment an (H, W, 3) uint8 RGB image before a change and after it.

    Cost: one encoding, or none if it is kept from an earlier run; and the matching, twice. Where the change alters
    encodings, the image is encoded for each side.

    Raises:
        OVDiffError: prototypes are missing, or the image cannot be segmented for another reason.
    """
    encoded = before.engine.encode(image)
    same = before.engine.encoding_key() == after.engine.encoding_key()
    found = before.engine.label(encoded, before.vocabulary)
    return found, after.engine.label(encoded if same else after.engine.encode(image), after.vocabulary)


def compare(before: Segmentation, after: Segmentation, names: tuple[Sequence[str], Sequence[str]]) -> Change:
    """Count the pixels whose label has another name after a change.

    Args:
        before: the segmentation of an image before the change.
        after: the segmentation of the same image after it.
        names: the names of both vocabularies, in the order of their label ids.

    Raises:
        ValueError: the segmentations are of different sizes.
    """
    if before.label_map.shape != after.label_map.shape:
        raise ValueError(f"expected one size, but got {before.label_map.shape} and {after.label_map.shape}")
    known = merged_names(*names)
    first, second = (shared_ids(found, own, known) for found, own in zip((before, after), names, strict=True))
    differs = first != second
    pairs = first[differs].astype(np.int64) * len(known) + second[differs]
    numbers, counts = np.unique(pairs, return_counts=True)
    moved = {
        (known[number // len(known)], known[number % len(known)]): count
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)
    }
    return Change(first.size, moved)


def merged_names(before: Sequence[str], after: Sequence[str]) -> tuple[str, ...]:
    """Return background and the names of two vocabularies, each once; the id of a name is its place."""
    return tuple(dict.fromkeys([BACKGROUND, *before, *after]))


def shared_ids(found: Segmentation, own: Sequence[str], known: Sequence[str]) -> NDArray[np.int32]:
    """Return a segmentation's label map (H, W) with the ids of :func:`merged_names`."""
    ids = np.array([0, *(known.index(name) for name in own)], dtype=np.int32)
    return ids[found.label_map]


def _json_name(name: str) -> str | None:
    return None if name == BACKGROUND else name
