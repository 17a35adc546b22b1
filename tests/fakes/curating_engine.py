"""The quick stand-in for the method, with support sets that people can change: curations are kept in memory."""

import threading
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.background import BackgroundPrototype
from ovdiff.bank.card import Card
from ovdiff.bank.support import SupportImage, SupportSet
from ovdiff.curation.curation import UNCURATED, Ban, Curation, Exemplar
from ovdiff.errors import SupportError
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary
from tests.fakes.engine import FakeEngine

DAY = "2026-11-22"


@dataclass
class FakeCurator:
    """Changes curations as `ovdiff.building.curating.Curator` does, without files and without models."""

    curations: dict[tuple[str, ...], Curation] = field(default_factory=dict)
    exemplars: dict[str, tuple[NDArray[np.uint8], NDArray[np.bool_]]] = field(default_factory=dict)

    def curation(self, category: Category) -> Curation:
        return self.curations.get(category.phrases, UNCURATED)

    def drawn_key(self, category: Category) -> str:
        return sha256(repr(category.phrases).encode()).hexdigest()

    def is_ours(self, card: Card) -> bool:
        return True

    def foreign(self, card: Card) -> str:
        return ""

    def reject(self, category: Category, numbers: Collection[int], why: str = "") -> Curation:
        if wrong := set(numbers) - {0, 1}:
            raise SupportError(f"{category.name!r} has no drawn image {min(wrong)}; there are 0, 1.")
        return self.put(category, self.curation(category).rejecting(numbers, why, DAY))

    def restore(self, category: Category, numbers: Collection[int]) -> Curation:
        return self.put(category, self.curation(category).restoring(numbers))

    def draw(self, category: Category, *, draw: bool) -> Curation:
        return self.put(category, replace(self.curation(category), draw=draw))

    def add_exemplar(
        self,
        category: Category,
        image: NDArray[np.uint8],
        mask: NDArray[np.bool_],
        name: str,
        source: str = "",
        *,
        alone: bool = False,
    ) -> Curation:
        address = f"{len(self.exemplars):064x}"
        self.exemplars[address] = image, mask
        now = self.curation(category).adding(Exemplar(address, name, source, DAY))
        return self.put(category, replace(now, draw=now.draw and not alone))

    def remove_exemplar(self, category: Category, which: str) -> Curation:
        now = self.curation(category)
        (found,) = [item for item in now.exemplars if item.pictures.startswith(which)]
        return self.put(category, now.without_exemplar(found))

    def backgrounds(self, category: Category) -> tuple[BackgroundPrototype, ...]:
        places = np.zeros((8, 8), dtype=np.bool_)
        places[:2] = True
        return tuple(
            BackgroundPrototype(number, "clip", kind, share, {0: places, 1: places})
            for number, (kind, share) in enumerate([("class", 1.0), ("part", 0.25), ("part", 0.75)])
        )

    def ban(self, category: Category, number: int, why: str = "", into: str = "") -> Curation:
        if not 0 <= number <= 2:
            raise SupportError(f"{category.name!r} has no background prototype {number}; there are 0 to 2.")
        ban = Ban(sha256(str(number).encode()).hexdigest(), "clip", "part", 0.25, why, into, DAY)
        return self.put(category, self.curation(category).banning(ban))

    def unban(self, category: Category, which: int | str) -> Curation:
        now = self.curation(category)
        found = [ban for number, ban in enumerate(now.bans) if which in (number, ban.places[:12])]
        if not found:
            raise SupportError(f"{category.name!r} has no ban {which}; there are {len(now.bans)}.")
        return self.put(category, now.without_ban(found[0]))

    def promote(self, category: Category, number: int, into: Category) -> Curation:
        places = np.zeros((8, 8), dtype=np.bool_)
        places[:2] = True
        self.ban(category, number, into=into.name)
        image = np.full((8, 8, 3), number, np.uint8)
        return self.add_exemplar(into, image, places, f"{category.name}-{number}", f"background of {category.name!r}")

    def demote(self, category: Category, which: str, into: Category) -> Curation:
        source, now = f"background of {category.name!r}", self.curation(into)
        self.put(into, replace(now, exemplars=tuple(each for each in now.exemplars if each.source != source)))
        return self.unban(category, which)

    def put(self, category: Category, new: Curation) -> Curation:
        self.curations[category.phrases] = new
        return new


@dataclass
class CuratingEngine(FakeEngine):
    """A `FakeEngine` whose keys and support sets follow what people changed."""

    curator: FakeCurator = field(default_factory=FakeCurator)

    def category_key(self, category: Category) -> str:
        identity = self.curator.curation(category).identity()
        plain = super().category_key(category)
        return super().category_key(replace(category, prompts=(plain, str(identity)))) if identity else plain

    def drafting(self) -> "CuratingEngine":
        """A draft keeps its curations for itself, and its builds in the same bank."""
        curator = FakeCurator(dict(self.curator.curations), dict(self.curator.exemplars))
        return replace(self, curator=curator, _lock=threading.Lock())

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        """As `FakeEngine`, but a category without its first image is found nowhere."""
        found = super().segment(image, vocabulary)
        label_map = found.label_map.copy()
        for index, category in enumerate(vocabulary.categories):
            if 0 in self.curator.curation(category).rejected_numbers():
                label_map[label_map == index + 1] = 0
        return replace(found, label_map=label_map)

    def support_set(self, category: Category) -> SupportSet:
        drawn, curation = super().drawn_set(category), self.curator.curation(category)
        left_out = curation.rejected_numbers()
        own = [self._exemplar(item, 2 + place) for place, item in enumerate(curation.exemplars)]
        return SupportSet(
            tuple([item for item in drawn.images if item.number not in left_out] + own),
            refused=drawn.refused,
            rejected=tuple(item for item in drawn.images if item.number in left_out),
            reasons={item.number: item.why for item in curation.rejected},
        )

    def _exemplar(self, exemplar: Exemplar, number: int) -> SupportImage:
        image, mask = self.curator.exemplars[exemplar.pictures]
        return SupportImage(
            image,
            mask.astype(np.float32),
            mask,
            ~mask,
            number=number,
            exemplar=exemplar.name,
            address=exemplar.pictures,
        )
