"""A person's annotation of a whole image, as a label map with what it speaks about. Never imports torch."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovdiff.errors import LessonError
from ovdiff.vocabulary import Vocabulary


@dataclass(frozen=True)
class Annotation:
    """What a person says about an image.

    Attributes:
        label_map: (H, W) int, of the image's own size: 0 is no label, ``i + 1`` is ``vocabulary.categories[i]``.
        vocabulary: the categories of the project.
        covered: the names of the categories that the annotation speaks about; ``None`` means all of them.
        complete: whether the annotation speaks about the whole image, so that pixels without a label show none of the
            covered categories. A partial annotation speaks about the labelled pixels alone.

    Raises:
        LessonError: the label map is no map of the vocabulary's categories, has no label at all, or has a category that
            the annotation does not speak about; or ``covered`` names something else.
    """

    label_map: NDArray[np.integer]
    vocabulary: Vocabulary
    covered: Collection[str] | None = None
    complete: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be learned from."""
        labels, names = self.label_map, self.vocabulary.names
        if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
            raise LessonError(f"Expected a label map of whole numbers (H, W), got {labels.dtype} {labels.shape}.")
        if labels.size and not 0 <= labels.min() <= labels.max() <= len(names):
            raise LessonError(
                f"The label map has values from {labels.min()} to {labels.max()}; expected 0 to {len(names)}, the "
                f"number of categories of the vocabulary."
            )
        if unknown := sorted(set(self.covered or ()) - set(names)):
            raise LessonError(f"The vocabulary has no {unknown[0]!r}; its categories are {', '.join(names)}.")
        present = [names[number - 1] for number in np.unique(labels).tolist() if number]
        if not present:
            raise LessonError("Nothing is annotated in the image, so nothing can be learned from it.")
        if self.covered is not None and (others := [name for name in present if name not in self.covered]):
            raise LessonError(f"The label map has {others[0]!r}, which the annotation does not speak about.")

    def covers(self, name: str) -> bool:
        """Say whether the annotation speaks about a category."""
        return self.covered is None or name in self.covered

    def require_size(self, image: NDArray[np.uint8]) -> None:
        """Check that the annotation is of the size of its image (H, W, 3).

        Raises:
            LessonError: it is not.
        """
        if self.label_map.shape != image.shape[:2]:
            (height, width), (rows, columns) = image.shape[:2], self.label_map.shape
            raise LessonError(
                f"The annotation is of {columns} x {rows} px and its image of {width} x {height} px. Export the tasks "
                "again, or give the image that was annotated."
            )
