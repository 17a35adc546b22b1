"""The categories to look for, and the vocabulary that orders them. Never imports torch."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from ovdiff.errors import VocabularyError

Kind = Literal["thing", "stuff"]


@dataclass(frozen=True)
class Category:
    """One word of the vocabulary.

    Attributes:
        name: the category's name, as the label config spells it.
        prompts: phrases that stand for the category in a text prompt; ``()`` means the name itself. The support images
            of several phrases are pooled into one prototype set.
        kind: thing or stuff; ``None`` leaves the decision to :mod:`ovdiff.vocabulary.kinds`.

    Raises:
        VocabularyError: the name or a prompt is blank, or a prompt occurs twice.
    """

    name: str
    prompts: tuple[str, ...] = ()
    kind: Kind | None = None

    def __post_init__(self) -> None:
        """Refuse blank or repeated texts."""
        if isinstance(self.prompts, str):  # tuple() would take the letters of a string for prompts.
            raise VocabularyError(
                f"Category {self.name!r} has the prompts {self.prompts!r}; "
                f"expected a tuple, such as ({self.prompts!r},)."
            )
        object.__setattr__(self, "prompts", tuple(self.prompts))  # A list becomes a tuple, so that it can be hashed.
        if not self.name.strip():
            raise VocabularyError(f"A category needs a name, got {self.name!r}. Remove it or name it.")
        if any(not prompt.strip() for prompt in self.prompts):
            raise VocabularyError(
                f"Category {self.name!r} has a blank prompt in {list(self.prompts)}. "
                f"Write a phrase such as 'red car', or give no prompts to use the name."
            )
        _refuse_duplicates(self.prompts, f"prompt of category {self.name!r}")
        if self.kind not in ("thing", "stuff", None):
            raise VocabularyError(
                f"Category {self.name!r} is of kind {self.kind!r}; expected 'thing', 'stuff' or None."
            )

    @property
    def phrases(self) -> tuple[str, ...]:
        """The texts that describe this category to a model: its prompts, or its name if it has no prompts."""
        return tuple(prompt.strip() for prompt in self.prompts or (self.name,))


def with_phrase(category: Category, phrases: Iterable[tuple[str, str]]) -> Category:
    """Return the category with the phrase that is given for its name; a category with prompts of its own is unchanged.

    Args:
        category: the category; its name is compared without regard to case.
        phrases: pairs (name, phrase), as in a preset's ``generation.phrases``.
    """
    if category.prompts:
        return category
    known = {name.strip().casefold(): phrase for name, phrase in phrases}
    phrase = known.get(category.name.strip().casefold())
    return category if phrase is None else replace(category, prompts=(phrase,))


def as_category(word: Category | str) -> Category:
    """Return the category of a name; a category is returned as it is.

    Raises:
        VocabularyError: ``word`` is neither a name nor a category, or the name is blank.
    """
    if isinstance(word, Category):
        return word
    if not isinstance(word, str):
        raise VocabularyError(
            f"Expected a category's name or a Category, got {word!r} ({type(word).__name__}). Write a name such as "
            "'boat', or Category('boat', prompts=('sailing boat',))."
        )
    return Category(word)


@dataclass(frozen=True, init=False)
class Vocabulary:
    """The categories of one project; their order gives the label ids 1..n.

    Attributes:
        categories: in the order of their label ids.
    """

    categories: tuple[Category, ...]

    def __init__(self, categories: Iterable[Category | str]) -> None:
        """Take the categories in their order.

        Args:
            categories: a list or tuple of names, of categories, or of both. A name becomes the category of that name.

        Raises:
            VocabularyError: there are no categories, two have the same name, or ``categories`` is one string.
        """
        if isinstance(categories, str | Category):
            raise VocabularyError(f"Expected a list of categories, got {categories!r} alone. Write [{categories!r}].")
        try:
            words = tuple(categories)
        except TypeError:
            raise VocabularyError(
                f"Expected a list of categories, got {categories!r}. Write names, such as ['boat', 'water']."
            ) from None
        object.__setattr__(self, "categories", tuple(map(as_category, words)))
        if not self.categories:
            raise VocabularyError("The vocabulary is empty. Give at least one category, such as 'boat'.")
        _refuse_duplicates((category.name for category in self.categories), "category")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the categories, in the order of their label ids."""
        return tuple(category.name for category in self.categories)

    def fingerprint(self) -> str:
        """Return a hex hash of the categories' names, prompts and kinds, and of their order."""
        rows = [[category.name, category.phrases, category.kind] for category in self.categories]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()


def _refuse_duplicates(texts: Iterable[str], what: str) -> None:
    repeated = [text for text, count in Counter(texts).items() if count > 1]
    if repeated:
        raise VocabularyError(f"Duplicate {what}: {', '.join(map(repr, repeated))}. Name each once.")
