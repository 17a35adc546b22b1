"""The decision whether a category is a thing or stuff (A.9). Stuff is amorphous; its background prototypes are unused.

The first of these rules that applies decides: the category's own ``kind``; the preset's ``extra_stuff``; the table of
known names; if the preset says so, the known name that is nearest in CLIP's text space. If none applies the category is
a thing, as in the released code. The paper asked a language model instead. Never imports torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ovdiff.presets.segmenting_settings import StuffFilterSettings
from ovdiff.vocabulary import Category, Kind
from ovdiff.vocabulary.kind_table import COMPARED_NAMES, STUFF_NAMES, THING_NAMES


class _Vector(Protocol):
    """The one method of a torch tensor that this module calls."""

    def numpy(self, *, force: bool) -> NDArray[np.float32]: ...


class TextEmbedder(Protocol):
    """Embeds texts, as :class:`ovdiff.models.texts.ClipTexts` does."""

    def embed(self, texts: Sequence[str]) -> Sequence[_Vector | None]:
        """Return a unit vector (P,) for each text, or ``None`` for a text longer than the encoder reads."""
        ...


@dataclass(frozen=True)
class KindDecision:
    """The kind that a category was taken for, and the rule that decided it.

    Attributes:
        name: the category's name.
        kind: thing or stuff.
        decided_by: "category" (its own ``kind``), "preset" (``extra_stuff``), "table" (a known name), "nearest"
            (the known name that CLIP finds most alike), or "default".
        nearest: the nearest known name, if it decided.
        similarity: the cosine of the category's texts and the nearest name.
    """

    name: str
    kind: Kind
    decided_by: Literal["category", "preset", "table", "nearest", "default"]
    nearest: str | None = None
    similarity: float | None = None

    @property
    def reason(self) -> str:
        """The rule that decided, in a few words."""
        if self.nearest is None:
            return self.decided_by
        return f"nearest: {self.nearest!r}, cosine {self.similarity:.3f}"

    def __str__(self) -> str:
        """Return one phrase for logs and tables."""
        return f"{self.name!r} is {self.kind} ({self.reason})"


def known_kind(category: Category, settings: StuffFilterSettings) -> KindDecision | None:
    """Decide without a model; ``None`` if only a model can decide.

    The whole name is compared, without regard to case. A "water bottle" is no water.
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
    """Decides the kind of an unknown name by the known name that is nearest in CLIP's text space."""

    def __init__(self, texts: TextEmbedder, template: str, settings: StuffFilterSettings) -> None:
        """Embed no text yet.

        Args:
            texts: CLIP's text encoder.
            template: a caption with ``{category}`` in place of the name.
            settings: gives the names that are stuff although the table does not list them.
        """
        self._texts, self._template = texts, template
        self._extra_stuff = frozenset(map(_plain, settings.extra_stuff))

    def decide(self, categories: Sequence[Category]) -> tuple[KindDecision, ...]:
        """Decide by the mean embedding of a category's phrases. Of equally near names the first by alphabet decides.

        A category whose phrases are all too long for the encoder is a thing.
        """
        phrases = list(dict.fromkeys(phrase for category in categories for phrase in category.phrases))
        # All phrases in one call, because the encoder reads them in batches.
        vectors = dict(zip(phrases, self._embed(phrases), strict=True))
        return tuple(self._decide(each, [vectors[phrase] for phrase in each.phrases]) for each in categories)

    def _decide(self, category: Category, vectors: Sequence[NDArray[np.float32] | None]) -> KindDecision:
        readable = [vector for vector in vectors if vector is not None]
        if not readable:
            return KindDecision(category.name, "thing", "default")
        names, matrix = self._known
        mean = np.mean(readable, axis=0)
        similarities = matrix @ (mean / np.linalg.norm(mean))
        best = int(similarities.argmax())  # Of equal values numpy's argmax takes the first.
        stuff = names[best] in STUFF_NAMES | self._extra_stuff
        return KindDecision(
            category.name, "stuff" if stuff else "thing", "nearest", names[best], float(similarities[best])
        )

    @cached_property
    def _known(self) -> tuple[list[str], NDArray[np.float32]]:
        """The names that are compared, sorted, and their unit vectors (N, P). They are embedded once."""
        names = sorted(COMPARED_NAMES | self._extra_stuff)
        pairs = [(name, vector) for name, vector in zip(names, self._embed(names), strict=True) if vector is not None]
        return [name for name, _ in pairs], np.stack([vector for _, vector in pairs])

    def _embed(self, phrases: Sequence[str]) -> list[NDArray[np.float32] | None]:
        vectors = self._texts.embed([self._template.replace("{category}", phrase) for phrase in phrases])
        return [None if vector is None else vector.numpy(force=True) for vector in vectors]


def _plain(name: str) -> str:
    return name.strip().casefold()
