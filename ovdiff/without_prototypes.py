"""What engines share that prepare nothing: a category costs them a few texts, embedded when an image asks for them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol

from ovdiff.errors import WeightsError
from ovdiff.presets.mapping import digest
from ovdiff.vocabulary import Category


class FingerprintedPreset(Protocol):
    """A preset that can say what of it decides about masks."""

    def fingerprint(self) -> str:
        """Return a hex hash of every field that can change a mask."""
        ...


class WithoutPrototypes(ABC):
    """The preparing half of an engine (:class:`ovdiff.engines.contract.Builder`) that has nothing to prepare."""

    preset: FingerprintedPreset

    @abstractmethod
    def weights(self) -> Mapping[str, str]:
        """Return what identifies the weights of each model; loads none.

        Raises:
            WeightsError: a model's files are missing.
        """

    def fingerprint(self) -> str:
        """Return a hex hash of the preset and the weights, which with the vocabulary decide the masks of an image.

        While weights are missing the hash is another one than after they were found.
        """
        try:
            return digest([self.preset.fingerprint(), self.weights()])
        except WeightsError:
            return self.preset.fingerprint()

    def category_key(self, category: Category) -> str:
        """Return a hash of the category, the preset and the weights; loads no model."""
        return digest([self.fingerprint(), category.name, category.phrases, category.kind])

    def has(self, category: Category) -> bool:
        """Say that a category is prepared: there is nothing to prepare."""
        return True

    def build(self, category: Category, progress: Callable[[str, float], None] | None = None) -> None:
        """Do nothing but report that all is done."""
        if progress is not None:
            progress("ready", 1.0)
