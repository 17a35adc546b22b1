"""What some engines let people change: the support set of a category.

tests/ovdiff/engines/test_capabilities.py tells which engines do.
"""

from collections.abc import Collection
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.background import BackgroundPrototype
from ovdiff.bank.card import Card
from ovdiff.curation.curation import Curation
from ovdiff.engines.contract import SegmentationEngine
from ovdiff.engines.encodings import HasEncodings
from ovdiff.vocabulary import Category


class CategoryCurator(Protocol):
    """What changes the curations of categories: see :class:`ovdiff.building.curating.Curator`.

    Every change returns the new curation. A changed category has another key; its next build draws nothing anew.
    """

    def curation(self, category: Category) -> Curation:
        """Return what people changed of a category's support set."""
        ...

    def drawn_key(self, category: Category) -> str:
        """Return the content address of what is drawn for a category: within it the numbers of images are meant."""
        ...

    def is_ours(self, card: Card) -> bool:
        """Say whether this engine's preset made the prototype set of a card, whatever the curation now is."""
        ...

    def foreign(self, card: Card) -> str:
        """Say in words why the set of a card is not what this engine's preset makes of its phrases; "" if it is."""
        ...

    def reject(self, category: Category, numbers: Collection[int], why: str = "") -> Curation:
        """Leave drawn images out."""
        ...

    def restore(self, category: Category, numbers: Collection[int]) -> Curation:
        """Take rejected images back."""
        ...

    def draw(self, category: Category, *, draw: bool) -> Curation:
        """Say whether images are drawn at all, or the category is made of its exemplars alone."""
        ...

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
        """Add an (H, W, 3) uint8 RGB image with the (H, W) bool mask of the object."""
        ...

    def remove_exemplar(self, category: Category, which: str) -> Curation:
        """Take an exemplar out, by its name or the first digits of its address."""
        ...

    def backgrounds(self, category: Category) -> tuple[BackgroundPrototype, ...]:
        """Return the background prototypes of a built category, with the places that they came from."""
        ...

    def ban(self, category: Category, number: int, why: str = "", into: str = "") -> Curation:
        """Make the places of a background prototype background no more."""
        ...

    def unban(self, category: Category, which: int | str) -> Curation:
        """Lift a ban, by its number in the curation or the first digits of the address of its places."""
        ...

    def promote(self, category: Category, number: int, into: Category) -> Curation:
        """Make the places of a background prototype a category of their own."""
        ...

    def demote(self, category: Category, which: str, into: Category) -> Curation:
        """Undo a promotion, by the first digits of the address of its places; return the first one's curation."""
        ...

    def put(self, category: Category, curation: Curation) -> Curation:
        """Put a curation in the place of the present one, such as one that was tried, or the one from before."""
        ...


@runtime_checkable
class Curates(Protocol):
    """An engine whose support sets people can change."""

    @property
    def curator(self) -> CategoryCurator:
        """What changes the curations of this engine's preset."""
        ...

    def drafting(self) -> "CuratingEngine":
        """Return an engine on the same models and bank, whose curations are changed in memory alone.

        So a change can be tried before it is in force.
        """
        ...


class CuratingEngine(SegmentationEngine, HasEncodings, Curates, Protocol):
    """An engine whose words people can change, and which encodes an image once for what a word was and what it is."""
