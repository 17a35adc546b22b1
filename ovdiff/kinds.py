"""Which names are stuff (A.9): amorphous regions, whose background prototypes are never used.

The table is the released code's, as data. It has known oddities, kept for parity: sand, sea, river,
hill, earth, field and path count as things. A preset adds names of its own, a category overrides both.
"""

from collections.abc import Collection
from typing import Literal

from ovdiff.vocabulary import Category

STUFF_NAMES: frozenset[str] = frozenset(
    {
        "bedclothes", "blanket", "ceiling", "cloth", "curtain", "fence", "floor", "glass", "grass", "ground",
        "lake", "mountain", "platform", "road", "rock", "sidewalk", "sky", "snow", "step", "track",
        "trade name", "tray", "wall", "water", "wood",
    }
)  # fmt: skip


def kind_of(category: Category, extra_stuff: Collection[str] = ()) -> Literal["thing", "stuff"]:
    """Decide whether a category is a thing or stuff.

    The category's own ``kind`` wins; then its name is looked up, ignoring case; unknown names are things
    (A.9). A phrase is not searched for stuff words: a "water bottle" is a thing.
    """
    if category.kind is not None:
        return category.kind
    name = category.name.strip().casefold()
    known = name in STUFF_NAMES or name in {extra.casefold() for extra in extra_stuff}
    return "stuff" if known else "thing"
