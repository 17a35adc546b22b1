"""Images with a file of labels each: what a value of a pixel stands for, and both read as they are stored."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from converters.files.png import read_png_values
from ovdiff.errors import DatasetError, ImageError
from ovdiff.evaluation.dataset import UNKNOWN, LabelledImage, Truth
from ovdiff.images import read_stored_image

_UNEXPECTED = UNKNOWN - 1
_MODES = ("P", "L", "I;16", "I")

LabelTable = NDArray[np.int32]
"""(n,) int32: the label of each value that a pixel may have; every value from n on is unexpected."""


def label_table(labels: Mapping[int, int], unknown: Iterable[int] = ()) -> LabelTable:
    """Return the table of what values stand for.

    Args:
        labels: from a value of a pixel to its label; 0 is background.
        unknown: values of pixels of which the dataset does not say what they are.
    """
    everything = {**labels, **dict.fromkeys(unknown, UNKNOWN)}
    table = np.full(max(everything) + 1, _UNEXPECTED, dtype=np.int32)
    table[list(everything)] = list(everything.values())
    return table


def read_values(path: Path) -> NDArray[np.integer]:
    """Return the numbers of the pixels of a PNG, a TIFF, or a MATLAB file with a LabelMap, (H, W), of 8 or 16 bits.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no such file, is damaged, or has colours.
    """
    if path.suffix == ".mat":
        return _matlab_label_map(path)
    if path.suffix == ".tif":
        return _tiff_values(path)
    return read_png_values(path, _MODES)


@dataclass(frozen=True, eq=False)
class LabelFiles:
    """The images of a dataset, each with a file of labels.

    Attributes:
        dataset: its name, for messages.
        root: the dataset's folder.
        files: the paths of the image and of its labels by the image's name, relative to ``root``.
        table: what the values stand for.
        decode: reads the values of a file of labels, (H, W) integers; it raises OSError or ValueError if it cannot.
    """

    dataset: str
    root: Path
    files: Mapping[str, tuple[str, str]]
    table: LabelTable
    decode: Callable[[Path], NDArray[np.integer]] = read_values

    def read(self, name: str) -> LabelledImage:
        """Read an image and its labels by the image's name.

        Raises:
            DatasetError: there is no such image, a file cannot be read, the labels are of another size than the image,
                or a value stands for nothing.
        """
        if name not in self.files:
            raise DatasetError(f"{self.dataset}: there is no image {name!r}; the first is {next(iter(self.files))!r}.")
        image_path, label_path = (self.root / path for path in self.files[name])
        image = read_pixels(self.dataset, image_path)
        values = decoded(self.dataset, label_path, self.decode)
        require_one_size(self.dataset, image, image_path, values, label_path)
        return LabelledImage(image, Truth(labels_of(self.dataset, values, self.table, label_path)))


def decoded(
    dataset: str, path: Path, decode: Callable[[Path], NDArray[np.integer]] = read_values
) -> NDArray[np.integer]:
    """Return what a function reads of a file of labels.

    Raises:
        DatasetError: it cannot read the file; the message names it.
    """
    try:
        return decode(path)
    except (OSError, ValueError) as error:  # The errors of the converters are ValueErrors.
        raise DatasetError(
            f"{dataset}: the labels {str(path)!r} cannot be read: {error}. Unpack them again."
        ) from error


def read_pixels(dataset: str, path: Path) -> NDArray[np.uint8]:
    """Return an image of a dataset, (H, W, 3) uint8 RGB, as it is stored.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        return read_stored_image(path)
    except ImageError as error:
        raise DatasetError(f"{dataset}: {error} Unpack it again.") from error


def require_one_size(
    dataset: str, image: NDArray[np.uint8], image_path: Path, values: NDArray[np.integer], path: Path
) -> None:
    """Make sure that labels have the size of their image.

    Raises:
        DatasetError: they have not.
    """
    if image.shape[:2] != values.shape[:2]:
        (height, width), (label_height, label_width) = image.shape[:2], values.shape[:2]
        raise DatasetError(
            f"{dataset}: the image {str(image_path)!r} has {width}x{height} pixels, and its labels {str(path)!r} have "
            f"{label_width}x{label_height}. One of the two belongs to another image, or was resized."
        )


def labels_of(dataset: str, values: NDArray[np.integer], table: LabelTable, path: Path) -> NDArray[np.int32]:
    """Return the labels that values stand for, (H, W) int32.

    Raises:
        DatasetError: a value stands for nothing, so the file belongs to another dataset, or was converted.
    """
    inside = (values >= 0) & (values < table.size)
    labels = table[np.where(inside, values, 0)]
    strange = ~inside | (labels == _UNEXPECTED)
    if strange.any():
        shown = ", ".join(map(str, np.unique(values[strange])[:6].tolist()))
        raise DatasetError(
            f"{dataset}: the labels {str(path)!r} have values that this dataset does not know: {shown}. Is it another "
            "dataset, or were its labels converted?"
        )
    return labels


def _tiff_values(path: Path) -> NDArray[np.integer]:
    with Image.open(path, formats=("TIFF",)) as image:
        if image.mode not in _MODES:
            raise ValueError(f"expected numbers of 8 or 16 bits, got a picture of mode {image.mode}")
        return np.asarray(image)


def _matlab_label_map(path: Path) -> NDArray[np.integer]:
    from scipy.io import loadmat

    try:
        values = loadmat(path, variable_names=("LabelMap",)).get("LabelMap")
    except OSError:
        raise
    except Exception as error:  # scipy's reader raises whatever a damaged file leads it to.
        raise ValueError(f"expected a MATLAB file, got {type(error).__name__}: {error}") from error
    if values is None or values.ndim != 2 or values.dtype.kind not in "ui":
        raise ValueError("expected a MATLAB file with a LabelMap of whole numbers")
    return values
