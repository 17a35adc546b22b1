"""Cityscapes, val: 19 classes of streets. The labels are ``labelIds``: of 34 values 15 do not count."""

from pathlib import Path

from converters.files.class_lists import read_class_list
from ovdiff.evaluation.dataset import UNKNOWN, Dataset, DatasetKind
from ovdiff.evaluation.folders import FilesOf, pair_files, root_of
from ovdiff.evaluation.label_files import LabelFiles, label_table
from ovdiff.evaluation.names import ovdiff_categories
from ovdiff.vocabulary import Vocabulary

_CLASSES = tuple(row for row in read_class_list("cityscapes_train_ids") if row.kind != "void")
CATEGORIES = ovdiff_categories(_CLASSES)
_LABELS = FilesOf("gtFine/val", "_gtFine_labelIds.png")
_IMAGES = FilesOf("leftImg8bit/val", "_leftImg8bit.png")


def _find(folder: Path) -> Dataset:
    name = "cityscapes"
    root = root_of(name, folder, ("cityscapes", "."), _LABELS.folder)
    files = pair_files(name, root, _IMAGES, _LABELS)
    place = {row.name: label for label, row in enumerate(_CLASSES, 1)}
    table = label_table({row.value: place.get(row.name, UNKNOWN) for row in read_class_list("cityscapes")}, (255,))
    read = LabelFiles(name, root, files, table).read
    return Dataset(name, Vocabulary(CATEGORIES), tuple(files), read, counts_background=False)


CITYSCAPES = DatasetKind(
    "cityscapes",
    "Cityscapes val, fine",
    CATEGORIES,
    _find,
    layout=("leftImg8bit/val/*/*_leftImg8bit.png", "gtFine/val/*/*_gtFine_labelIds.png"),
    obtain=(
        "It is leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of cityscapes-dataset.com, which asks for a "
        "registration. Unpack both in one folder."
    ),
    image_count=500,
    counts_background=False,
)
