"""ADE20K: the scene parsing benchmark (150 classes, 2016), and all that was annotated often enough (847, 2021).

The labels of the benchmark are grey pictures: 1 to 150 are the classes, 0 is whatever is none of them and does not
count (mmseg's ``reduce_zero_label``). Of the full dataset either the archive is read, where a pixel's class is
R / 10 * 256 + G, or the 16-bit pictures that MaskFormer's script makes of it, on which figures are published: there the
shorter side of an image is 512 pixels at most.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.files.class_lists import read_class_list
from converters.files.png import read_png
from ovdiff.evaluation.dataset import UNKNOWN, Dataset, DatasetKind
from ovdiff.evaluation.folders import FilesOf, find_root, pair_files, root_of
from ovdiff.evaluation.label_files import LabelFiles, label_table
from ovdiff.evaluation.names import ovdiff_categories
from ovdiff.vocabulary import Category, Vocabulary

CATEGORIES_150 = ovdiff_categories(row for row in read_class_list("ade20k") if row.kind != "background")
_FULL = read_class_list("ade20k_full")
CATEGORIES_847 = tuple(Category(row.name, tuple(row.name.split(", ")) if ", " in row.name else ()) for row in _FULL)

_PLACES = ("ADEChallengeData2016", "ade/ADEChallengeData2016", ".")
_LABELS = FilesOf("annotations/validation", ".png")
_IMAGES = FilesOf("images/validation", ".jpg")

_FULL_PLACES = ("ADE20K_2021_17_01", "ade/ADE20K_2021_17_01", ".")
_PREPARED_LABELS = FilesOf("annotations_detectron2/validation", ".tif")
_PREPARED_IMAGES = FilesOf("images_detectron2/validation", ".jpg")
_ORIGINAL_LABELS = FilesOf("images/ADE/validation", "_seg.png")
_ORIGINAL_IMAGES = FilesOf("images/ADE/validation", ".jpg")
_LARGEST_NUMBER = 25 * 256 + 255
_FULL_SIZE = (
    "Images were read in their full size; published figures are of copies whose shorter side is 512 pixels at most "
    "(MaskFormer's prepare_ade20k_full_sem_seg.py)."
)


def _find_150(folder: Path) -> Dataset:
    name = "ade20k"
    root = root_of(name, folder, _PLACES, _LABELS.folder)
    files = pair_files(name, root, _IMAGES, _LABELS)
    table = label_table({n: n for n in range(1, 151)}, unknown=(0,))
    read = LabelFiles(name, root, files, table).read
    return Dataset(name, Vocabulary(CATEGORIES_150), tuple(files), read, counts_background=False)


def _find_847(folder: Path) -> Dataset:
    name = "ade847"
    prepared = find_root(folder, _FULL_PLACES, _PREPARED_LABELS.folder)
    if prepared is not None:
        files = pair_files(name, prepared, _PREPARED_IMAGES, _PREPARED_LABELS)
        table = label_table({number: number + 1 for number in range(len(_FULL))}, unknown=(65535,))
        read = LabelFiles(name, prepared, files, table).read
    else:
        root = root_of(name, folder, _FULL_PLACES, _ORIGINAL_LABELS.folder)
        files = pair_files(name, root, _ORIGINAL_IMAGES, _ORIGINAL_LABELS)
        table = np.full(_LARGEST_NUMBER + 1, UNKNOWN, dtype=np.int32)
        table[[row.value for row in _FULL]] = np.arange(1, len(_FULL) + 1)
        read = LabelFiles(name, root, files, table, class_numbers).read
    notes, truth = ((_FULL_SIZE,), "full size") if prepared is None else ((), "512 px")
    found = Vocabulary(CATEGORIES_847)
    return Dataset(name, found, tuple(files), read, counts_background=False, notes=notes, truth=truth)


def class_numbers(path: Path) -> NDArray[np.integer]:
    """Return the number of each pixel's class in a ``_seg.png`` of the full dataset, (H, W) int32; 0 is none.

    Raises:
        ValueError: it is no intact PNG of colours.
    """
    red, green = np.moveaxis(read_png(path, ("RGB",))[..., :2].astype(np.int32), -1, 0)
    return red // 10 * 256 + green


ADE20K = DatasetKind(
    "ade20k",
    "ADE20K scene parsing val, 150 classes",
    CATEGORIES_150,
    _find_150,
    layout=("images/validation/*.jpg", "annotations/validation/*.png"),
    obtain=(
        "It is ADEChallengeData2016.zip of sceneparsing.csail.mit.edu, the page of the MIT Scene Parsing Benchmark; it "
        "unpacks to ADEChallengeData2016."
    ),
    image_count=2000,
    counts_background=False,
)
ADE847 = DatasetKind(
    "ade847",
    "ADE20K full val, 847 classes",
    CATEGORIES_847,
    _find_847,
    layout=(
        "images/ADE/validation/**/*.jpg and *_seg.png, or",
        "images_detectron2/validation/*.jpg and annotations_detectron2/validation/*.tif",
    ),
    obtain=(
        "It is ADE20K_2021_17_01.zip of groups.csail.mit.edu/vision/datasets/ADE20K, which asks for a registration; "
        "MaskFormer's prepare_ade20k_full_sem_seg.py makes the copies on which figures are published."
    ),
    image_count=2000,
    counts_background=False,
)
