"""A curation says which support images of a category are left out, which are added, and which background is banned.

::

    support set = (drawn images - rejected) + exemplars
    background  = Eq. 1's background - banned places

Only what changes an array counts in :meth:`Curation.identity`, and the order of entries does not. So two people who
decide the same share a prototype set, and an undone curation gives the key of the category without one. Reasons, dates
and names are for people. Loads no model and never imports torch.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

CURATION_VERSION = 1
"""The version of the code that turns a curation into a support set. It is part of every curated key."""

ADDRESS = re.compile(r"[0-9a-f]{64}")
"""The content address of pictures."""


@dataclass(frozen=True)
class Rejection:
    """A drawn image that is left out.

    Attributes:
        number: the number of the image within its category, from 0.
        why: the reason that a person gave; "" if none.
        when: the day, as ISO 8601.
    """

    number: int = -1
    why: str = ""
    when: str = ""


@dataclass(frozen=True)
class Exemplar:
    """An image of the user's own with a mask.

    Attributes:
        pictures: the content address of the image and its mask in the bank.
        name: how people call it: the name of the image's file, or of the category from which it was promoted.
        source: where the image is from, such as "task 12 of export.json"; "" if only its name tells.
        when: the day on which it was added, as ISO 8601.
    """

    pictures: str = ""
    name: str = ""
    source: str = ""
    when: str = ""


@dataclass(frozen=True)
class Ban:
    """Places of support images that are background no more.

    Attributes:
        places: the content address of the places in the bank: for each support image the pixels that are banned.
        extractor: the extractor of the background prototype that was banned.
        kind: the kind of that prototype: "class", "instance" or "part".
        share: the share of the background's cells that belonged to it, 0 to 1.
        why: the reason that a person gave; "" if none.
        into: the category to which the places were promoted; "" if they were only banned.
        when: the day, as ISO 8601.
    """

    places: str = ""
    extractor: str = ""
    kind: str = ""
    share: float = 0.0
    why: str = ""
    into: str = ""
    when: str = ""


@dataclass(frozen=True)
class Curation:
    """What people changed of the support set of a category. Every method returns a new curation.

    Attributes:
        category: the name of the category for which the curation was begun; for people.
        phrases: the texts that are drawn; for people, because the file's name stands for them.
        preset: the name of the preset with which it was begun; for people.
        draw: whether images are drawn at all; if not, the category is made of exemplars alone.
        rejected: the drawn images that are left out.
        exemplars: the images of the user's own.
        bans: the places that are background no more.
    """

    category: str = ""
    phrases: tuple[str, ...] = ()
    preset: str = ""
    draw: bool = True
    rejected: tuple[Rejection, ...] = ()
    exemplars: tuple[Exemplar, ...] = ()
    bans: tuple[Ban, ...] = ()

    def identity(self) -> dict[str, Any]:
        """Return what the arrays depend on, as JSON values in a canonical order; {} if nothing is changed."""
        found: dict[str, Any] = {
            **({} if self.draw else {"draw": False}),
            "rejected": sorted(self.rejected_numbers()),
            "exemplars": sorted({item.pictures for item in self.exemplars}),
            "bans": sorted({item.places for item in self.bans}),
        }
        kept = {name: value for name, value in found.items() if value or name == "draw"}
        return {"version": CURATION_VERSION, **kept} if kept else {}

    def rejected_numbers(self) -> frozenset[int]:
        """Return the numbers of the drawn images that are left out."""
        return frozenset(item.number for item in self.rejected)

    def reason(self, number: int) -> str:
        """Return why an image was left out; "" if it was not, or without a reason."""
        return next((item.why for item in self.rejected if item.number == number), "")

    def rejecting(self, numbers: Collection[int], why: str, when: str) -> "Curation":
        """Return the curation with some images left out; a newer reason replaces an older one."""
        kept = [item for item in self.rejected if item.number not in set(numbers)]
        added = [Rejection(number, why, when) for number in set(numbers)]
        return replace(self, rejected=tuple(sorted([*kept, *added], key=lambda item: item.number)))

    def restoring(self, numbers: Collection[int]) -> "Curation":
        """Return the curation with some images back."""
        return replace(self, rejected=tuple(item for item in self.rejected if item.number not in set(numbers)))

    def adding(self, exemplar: Exemplar) -> "Curation":
        """Return the curation with an exemplar more; one of the same pictures is replaced."""
        others = self.without_exemplar(exemplar).exemplars
        return replace(self, exemplars=(*others, exemplar))

    def without_exemplar(self, exemplar: Exemplar) -> "Curation":
        """Return the curation without the exemplar of the same pictures."""
        return replace(self, exemplars=tuple(item for item in self.exemplars if item.pictures != exemplar.pictures))

    def banning(self, ban: Ban) -> "Curation":
        """Return the curation with a ban more; one of the same places is replaced."""
        return replace(self, bans=(*self.without_ban(ban).bans, ban))

    def without_ban(self, ban: Ban) -> "Curation":
        """Return the curation without the ban of the same places."""
        return replace(self, bans=tuple(item for item in self.bans if item.places != ban.places))

    def summary(self) -> str:
        """Return the curation as a phrase: "2 rejected, 1 exemplar"; "" if nothing is changed."""
        counts = (
            (len(self.rejected_numbers()), "rejected", "rejected"),
            (len(self.exemplars), "exemplar", "exemplars"),
            (len(self.bans), "ban", "bans"),
        )
        parts = [f"{count} {one if count == 1 else many}" for count, one, many in counts if count]
        return ", ".join(parts if self.draw else [*parts, "nothing drawn"])


UNCURATED = Curation()
"""The curation of a category of which nothing is changed."""


def is_identity(values: Mapping[str, Any]) -> bool:
    """Say whether JSON values are what `Curation.identity` gives; a later version may add keys."""
    lists = [values.get(name, []) for name in ("rejected", "exemplars", "bans")]
    if not all(isinstance(each, list) for each in lists) or type(values.get("draw", True)) is not bool:
        return False
    numbers, *addresses = lists
    return all(type(number) is int and number >= 0 for number in numbers) and all(
        isinstance(address, str) and ADDRESS.fullmatch(address) for each in addresses for address in each
    )


def identity_summary(identity: Any) -> str:
    """Return an identity, as a card holds it, as `Curation.summary` does."""
    return Curation(
        draw=bool(identity.get("draw", True)),
        rejected=tuple(map(Rejection, identity.get("rejected", ()))),
        exemplars=tuple(map(Exemplar, identity.get("exemplars", ()))),
        bans=tuple(map(Ban, identity.get("bans", ()))),
    ).summary()
