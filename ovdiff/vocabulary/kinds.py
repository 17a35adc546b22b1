"""Whether a category is a thing or stuff (A.9): stuff is amorphous, and its background prototypes are never used.

Who decides, first to last: the category's own ``kind``; the preset's ``extra_stuff``; the table of known names;
for other names, where the preset says so, the known name that is nearest in CLIP's text space; else "thing", as
the released code does. The paper asked a language model instead. Never imports torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ovdiff.presets.schema import StuffFilterSettings
from ovdiff.vocabulary import Category, Kind
from ovdiff.vocabulary.kind_table import STUFF_NAMES, THING_NAMES


class _Vector(Protocol):
    """A torch tensor, as far as this module needs to know."""

    def numpy(self, *, force: bool) -> NDArray[np.float32]: ...


class TextEmbedder(Protocol):
    """What :class:`ovdiff.segmenting.prefilter.ClipTexts` does."""

    def embed(self, texts: Sequence[str]) -> Sequence[_Vector | None]:
        """Return unit vectors (P,), or ``None`` for a text longer than the encoder reads."""
        ...


@dataclass(frozen=True)
class KindDecision:
    """What a category was taken for, and why.

    Attributes:
        name: the category's.
        kind: thing or stuff.
        decided_by: "category" (its own ``kind``), "preset" (``extra_stuff``), "table" (a known name), "nearest"
            (the known name that CLIP finds most alike), or "default".
        nearest: that known name, where it decided.
        similarity: its cosine.
    """

    name: str
    kind: Kind
    decided_by: Literal["category", "preset", "table", "nearest", "default"]
    nearest: str | None = None
    similarity: float | None = None

    @property
    def reason(self) -> str:
        """Who or what decided, in a few words."""
        if self.nearest is None:
            return self.decided_by
        return f"nearest: {self.nearest!r}, cosine {self.similarity:.3f}"

    def __str__(self) -> str:
        """Return one phrase for logs and tables."""
        return f"{self.name!r} is {self.kind} ({self.reason})"


def known_kind(category: Category, settings: StuffFilterSettings) -> KindDecision | None:
    """Decide without a model, by the name and ignoring case; ``None`` where nothing is known of it.

    A name is not searched for stuff words: a "water bottle" is no water.
    """
    if category.kind is not None:
        return KindDecision(category.name, category.kind, "category")
    name = _plain(category.name)
    if name in map(_plain, settings.extra_stuff):
        return KindDecision(category.name, "stuff", "preset")
    if name in STUFF_NAMES or name in THING_NAMES:
        return KindDecision(category.name, "stuff" if name in STUFF_NAMES else "thing", "table")
    if settings.unknown_names == "thing":
        return KindDecision(category.name, "thing", "default")
    return None


class NearestKinds:
    """Decides about unknown names by the known name that is nearest in CLIP's text space."""

    def __init__(self, texts: TextEmbedder, template: str, settings: StuffFilterSettings) -> None:
        """Embed nothing yet.

        Args:
            texts: CLIP's text encoder.
            template: makes a caption of a name; holds ``{category}``.
            settings: names that are stuff beside the table.
        """
        self._texts, self._template = texts, template
        self._extra_stuff = frozenset(map(_plain, settings.extra_stuff))

    def decide(self, categories: Sequence[Category]) -> tuple[KindDecision, ...]:
        """Decide by the mean caption of a category's phrases; of equally near names the first by alphabet decides.

        A category of which no phrase can be read is a thing.
        """
        phrases = list(dict.fromkeys(phrase for category in categories for phrase in category.phrases))
        vectors = dict(zip(phrases, self._embed(phrases), strict=True))  # all at once: the encoder reads in batches
        return tuple(self._decide(each, [vectors[phrase] for phrase in each.phrases]) for each in categories)

    def _decide(self, category: Category, vectors: Sequence[NDArray[np.float32] | None]) -> KindDecision:
        readable = [vector for vector in vectors if vector is not None]
        if not readable:
            return KindDecision(category.name, "thing", "default")
        names, matrix = self._known
        mean = np.mean(readable, axis=0)
        similarities = matrix @ (mean / np.linalg.norm(mean))
        best = int(similarities.argmax())  # numpy's is the first of equals
        stuff = names[best] in STUFF_NAMES | self._extra_stuff
        return KindDecision(
            category.name, "stuff" if stuff else "thing", "nearest", names[best], float(similarities[best])
        )

    @cached_property
    def _known(self) -> tuple[list[str], NDArray[np.float32]]:
        """The known names, sorted, and their unit vectors (N, P); embedded once."""
        names = sorted(STUFF_NAMES | THING_NAMES | self._extra_stuff)
        pairs = [(name, vector) for name, vector in zip(names, self._embed(names), strict=True) if vector is not None]
        return [name for name, _ in pairs], np.stack([vector for _, vector in pairs])

    def _embed(self, phrases: Sequence[str]) -> list[NDArray[np.float32] | None]:
        vectors = self._texts.embed([self._template.replace("{category}", phrase) for phrase in phrases])
        return [None if vector is None else vector.numpy(force=True) for vector in vectors]


def _plain(name: str) -> str:
    return name.strip().casefold()
