"""What an explanation holds. Never imports torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.support import SupportSet
from ovdiff.explaining.taught import BACKGROUND_NAME, Taught
from ovdiff.presets.building_settings import PrototypeKind
from ovdiff.segmentation import PartEvidence, Segmentation

Where = tuple[int, int] | NDArray[np.bool_]
"""A place of an image: a pixel (x, y), from (0, 0) at the top left; or a mask (H, W) bool of the image's size."""

RemovalRule = Literal["average", "limit", "joint caption"]


@dataclass(frozen=True)
class Rival:
    """A class that competed for the place.

    Attributes:
        name: the category's name, or "background".
        label: its label id among all that compete: 0 is background, then the asked categories, then the anchors.
        is_anchor: whether nobody asked for it; where an anchor wins there is background.
        score: the sum of its votes at the place: the score map before PAMR, in [-1, 1].
    """

    name: str
    label: int
    is_anchor: bool
    score: float


@dataclass(frozen=True)
class Prototype:
    """Which prototype it is.

    Attributes:
        extractor: in whose feature space it is.
        category: the category to which it belongs; of a background prototype the category behind which it was seen.
        side: "foreground" or "background".
        kind: "class" (the mean of a side over all support images), "instance" (of one image) or "part".
        number: its number in that side of the stored set, from 0; ``None`` if it is not stored.
        image: for an instance its image among those from which the prototypes were made, from 0; else ``None``.
    """

    extractor: str
    category: str
    side: Literal["foreground", "background"]
    kind: PrototypeKind
    number: int | None
    image: int | None = None

    def __str__(self) -> str:
        """Return its name for people, such as "part 12 of boat's background"."""
        whose = f"{self.category}'s background" if self.side == "background" else self.category
        if self.kind == "class":
            return f"mean of {whose}"
        return f"image {self.image} of {whose}" if self.kind == "instance" else f"part {self.number} of {whose}"


@dataclass(frozen=True)
class Nearest:
    """A prototype that was the nearest of its class in some cells of a window.

    Attributes:
        prototype: which one.
        share: the share of these cells in the vote, by their weights; the shares of a class in a vote sum to 1.
        cosine: the mean cosine in these cells, by their weights.
    """

    prototype: Prototype
    share: float
    cosine: float


@dataclass(frozen=True)
class Vote:
    """What one extractor says in one window.

    Attributes:
        extractor: the extractor.
        box: (left, top, width, height) of the window, in px of the working image.
        weight: the weight of the vote at the place; the weights of all votes sum to 1.
        scores: (C,) the vote for each rival, in their order: the mean over cells of the largest cosine, in [-1, 1].
        nearest: for each of the finalists, by label id, the nearest prototypes, the largest share first. Their shares
            times cosines sum to the score. A class without prototypes has none.
    """

    extractor: str
    box: tuple[int, int, int, int]
    weight: float
    scores: tuple[float, ...]
    nearest: Mapping[int, tuple[Nearest, ...]]


@dataclass(frozen=True)
class Stage:
    """The place after one step from votes to labels.

    Attributes:
        name: "votes", "lessons", "PAMR", "part check", "uncertain stuff", "small parts" or "holes"; steps that are not
            taken, as lessons where there are none, are left out.
        label: the label id that most pixels of the place have after it; 0 where background or an anchor is best.
        share: the share of the place's pixels that have this label.
        changed: the share of the place's pixels that had another label before this step; 0 for the first one.
        scores: (C,) the mean score of each rival at the place after it; () after the steps that see labels alone.
    """

    name: str
    label: int
    share: float
    changed: float
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Removal:
    """A category that the prefilter removed, so that it could not win.

    Attributes:
        name: the category.
        is_anchor: whether nobody asked for it.
        rule: "average" (its caption fits the image worse than the average caption), "limit" (too many fit better) or
            "joint caption" (the image fits no joint caption with it as well as the chosen one).
        value: its cosine with the image; for "joint caption" that of the best joint caption with it.
        bar: the cosine that it needed.
        score: its score at the place, had nothing been removed.
        would_have_won: whether that is the best score, had nothing been removed.
    """

    name: str
    is_anchor: bool
    rule: RemovalRule
    value: float
    bar: float
    score: float
    would_have_won: bool

    @property
    def short_by(self) -> float:
        """By how much the value fell short of the bar."""
        return self.bar - self.value


@dataclass(frozen=True)
class SupportPlace:
    """Where a support image shows what a prototype was made of.

    Attributes:
        image: the place of the image in the support set's ``images``, from 0.
        cells: (h, w) bool, on the image's own pixels, or on a coarser grid over the whole image.
    """

    image: int
    cells: NDArray[np.bool_]


@dataclass(frozen=True)
class Source:
    """What a prototype was made of.

    Attributes:
        prototype: which one.
        places: where support images show it, the largest place first: of an instance the side of its image, of a part
            the cells that are nearest to it, of a mean that side of every image.
        missing: why there are no places, as a sentence; "" if there are some.
    """

    prototype: Prototype
    places: tuple[SupportPlace, ...]
    missing: str = ""


@dataclass(frozen=True)
class Explanation:
    """Why a place of an image has its label.

    Attributes:
        mask: (H, W) bool, the place; a pixel is a mask of one pixel.
        rivals: the classes that competed, after the prefilter.
        winner: the place in ``rivals`` of the class that wins by the votes.
        runner_up: that of the best class which would have given another label than the winner; ``None`` if nothing else
            competed.
        named: that of the class by which the place has its label in the end: the winner, unless a later step changed
            the label. ``None`` if no rival gives that label, as where background has neither prototypes nor threshold.
        votes: the votes, extractor by extractor.
        stages: the place after each step; the label of the last one is that of the segmentation.
        removed: the categories that the prefilter removed, those that would have won first.
        part: what CLIP saw in the part of the image that holds the place; ``None`` if it did not look there.
        taught: what lessons say at the place; ``None`` if there are none.
        sources: what the prototypes that count most were made of.
        support: the support sets of their categories, as far as they are stored, by category.
        segmentation: the segmentation of the whole image.
        names: the asked categories; label id ``i + 1`` is ``names[i]``.
    """

    mask: NDArray[np.bool_]
    rivals: tuple[Rival, ...]
    winner: int
    runner_up: int | None
    named: int | None
    votes: tuple[Vote, ...]
    stages: tuple[Stage, ...]
    removed: tuple[Removal, ...]
    part: PartEvidence | None
    segmentation: Segmentation
    names: tuple[str, ...]
    sources: tuple[Source, ...] = ()
    support: Mapping[str, SupportSet] = field(default_factory=dict)
    taught: Taught | None = None

    def name(self, label: int) -> str:
        """Return the name of a drawn label id."""
        return self.names[label - 1] if label else BACKGROUND_NAME

    def title(self, prototype: Prototype) -> str:
        """Return a prototype's name with the number by which people name its support image.

        Images that a person rejected have a number and give no prototype, so the place among the others is less.
        """
        support = self.support.get(prototype.category)
        if prototype.image is None or support is None or prototype.image >= len(support.images):
            return str(prototype)
        return str(replace(prototype, image=support.images[prototype.image].number))

    @property
    def label(self) -> str:
        """The name of the label that the segmentation gives to most of the place."""
        return self.name(self.stages[-1].label)

    def finalists(self) -> tuple[int, ...]:
        """Return the places in ``rivals`` of the winner, the runner-up, and whoever gives the label in the end."""
        found = (place for place in (self.winner, self.runner_up, self.named) if place is not None)
        return tuple(dict.fromkeys(found))

    def shares(self, rival: int) -> list[float]:
        """Return each vote's share of a rival's score, in the order of ``votes``.

        ``weight_v * vote_v / sum over votes of |weight * vote|``: where no vote is negative these are the shares of
        the score, and sum to 1.
        """
        parts = [vote.weight * vote.scores[rival] for vote in self.votes]
        total = sum(map(abs, parts))
        return [part / total if total else 0.0 for part in parts]

    def leads(self) -> list[float]:
        """Return by how much each vote puts the winner before the runner-up; the sum is the margin of the votes."""
        if self.runner_up is None:
            return [0.0] * len(self.votes)
        return [vote.weight * (vote.scores[self.winner] - vote.scores[self.runner_up]) for vote in self.votes]
