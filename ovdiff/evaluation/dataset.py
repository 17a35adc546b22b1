"""A labelled dataset: its categories, its images, and what is true of each. Never imports torch.

A dataset is one module with a :class:`DatasetKind`. Another package adds one by an entry point::

    [project.entry-points."ovdiff.datasets"]
    plankton = "my_package.plankton:PLANKTON"
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from converters.metrics.panoptic_quality import SegmentMap
from ovdiff.errors import DatasetError
from ovdiff.vocabulary import Category, Vocabulary

UNKNOWN = -1
"""The label of pixels of which nobody says what they are; they do not count. Datasets call them void or ignored."""

Measure = Literal["semantic", "panoptic", "instances"]
"""What a dataset's truth can be held against: labels of pixels, segments that do not overlap, objects that may."""


@dataclass(frozen=True)
class TrueObject:
    """An object of the truth, as average precision wants it. Objects may overlap.

    Attributes:
        label: its category, from 1.
        mask: (H, W) bool.
        is_crowd: whether it is many objects under one mask: what is found there is neither right nor wrong.
    """

    label: int
    mask: NDArray[np.bool_]
    is_crowd: bool = False


@dataclass(frozen=True)
class Truth:
    """What is true of one image.

    Attributes:
        label_map: (H, W) int32: i + 1 is the i-th category, 0 is background, ``UNKNOWN`` does not count. A dataset that
            does not count background has no 0.
        segments: the segments, for panoptic quality; ``None`` if the dataset has none.
        crowds: the numbers of those segments that are crowds.
        objects: the objects, for average precision; ``None`` if the dataset has none.
    """

    label_map: NDArray[np.int32]
    segments: SegmentMap | None = None
    crowds: frozenset[int] = frozenset()
    objects: tuple[TrueObject, ...] | None = None


@dataclass(frozen=True)
class LabelledImage:
    """An image, (H, W, 3) uint8 RGB, with what is true of it."""

    image: NDArray[np.uint8]
    truth: Truth

    @property
    def size_hw(self) -> tuple[int, int]:
        """The image's height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True)
class Dataset:
    """A dataset that was found on this machine.

    Attributes:
        name: its short name, such as ``voc21``; of a folder of your own, the folder's name, with "(own)" behind it
            if a known dataset has that name.
        vocabulary: the categories that are asked for, in the order of their labels. An engine draws and reads their
            prompts; names that a paper renamed have the new name as a prompt.
        images: the names of the images, in a fixed order; each name once.
        read: gives an image and its truth by its name. It raises a
            :class:`~ovdiff.errors.DatasetError` that names the file if that is missing or damaged.
        counts_background: whether background is a class of its own. If not, an engine gives every pixel a category.
        measures: what the truth can be held against.
        notes: what a reader of its figures should know, in a sentence each, such as a number of images that is not the
            published one.
        truth: what identifies the labels where they may change under one name, such as a hash, or the form in which
            they were found; "" if they do not.
    """

    name: str
    vocabulary: Vocabulary
    images: tuple[str, ...]
    read: Callable[[str], LabelledImage]
    counts_background: bool = True
    measures: frozenset[Measure] = frozenset({"semantic"})
    notes: tuple[str, ...] = ()
    truth: str = ""


@dataclass(frozen=True)
class DatasetKind:
    """What is known of a dataset before it is looked for.

    Attributes:
        name: as the command line spells it, in lower case.
        title: its full name, with the split.
        categories: in the order of their labels.
        find: finds it in a folder, and raises a :class:`~ovdiff.errors.DatasetError` that says which file was expected
            where if it is missing or half there. It gives a :class:`Dataset` of this kind's name and categories.
            :meth:`open` calls it.
        layout: the files and folders that it is read from, relative to the folder, as it is when it was unpacked.
        obtain: how it is usually obtained, in a sentence or two.
        image_count: how many images the split has; ``None`` if any number will do.
        counts_background: see :class:`Dataset`.
        measures: see :class:`Dataset`.
        needs_folder: whether it is read from a folder; what is drawn needs none.
    """

    name: str
    title: str
    categories: tuple[Category, ...]
    find: Callable[[Path], Dataset]
    layout: tuple[str, ...] = ()
    obtain: str = ""
    image_count: int | None = None
    counts_background: bool = True
    measures: frozenset[Measure] = field(default=frozenset({"semantic"}))
    needs_folder: bool = True

    @property
    def vocabulary(self) -> Vocabulary:
        """The categories as a vocabulary."""
        return Vocabulary(self.categories)

    def open(self, folder: Path) -> Dataset:
        """Find the dataset in a folder. A split with another number of images than published is opened, with a note.

        Raises:
            DatasetError: the folder does not exist, or the dataset is not there, or not all of it. The message says
                which file was expected where, and how the dataset is usually obtained.
        """
        try:
            if self.needs_folder and not folder.is_dir():
                what = "is a file; name the folder of the dataset" if folder.exists() else "does not exist"
                raise DatasetError(f"{self.name}: the folder {str(folder)!r} {what}.")
            found = self.find(folder)
        except DatasetError as error:
            raise DatasetError(f"{error} {self.obtain}".rstrip()) from error
        count = len(found.images)
        if self.image_count in (None, count):
            return found
        images = "1 image" if count == 1 else f"{count} images"
        note = f"The split has {images}; the published one has {self.image_count}, so figures may differ."
        return replace(found, notes=(*found.notes, note))
