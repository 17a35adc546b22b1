"""PASCAL VOC 2012, val: 20 things, with background (VOC21) and without (VOC20).

The labels are palette pictures: 0 is background, 1 to 20 are the classes, 255 is the border between objects and what
is too difficult. VOC20 does not count the pixels of background (mmseg's ``reduce_zero_label``).
"""

from functools import partial
from pathlib import Path

from converters.files.class_lists import read_class_list
from ovdiff.evaluation.dataset import UNKNOWN, Dataset, DatasetKind
from ovdiff.evaluation.folders import read_split, require_files, root_of
from ovdiff.evaluation.label_files import LabelFiles, label_table
from ovdiff.evaluation.names import ovdiff_categories
from ovdiff.vocabulary import Vocabulary

CATEGORIES = ovdiff_categories(each for each in read_class_list("voc") if each.kind == "thing")
_PLACES = ("VOCdevkit/VOC2012", "VOC2012", ".")
_SPLIT = "ImageSets/Segmentation/val.txt"
_LAYOUT = (_SPLIT, "JPEGImages/*.jpg", "SegmentationClass/*.png")
_OBTAIN = (
    "It is VOCtrainval_11-May-2012.tar of host.robots.ox.ac.uk/pascal/VOC/voc2012, which unpacks to VOCdevkit/VOC2012."
)


def _find(name: str, counts_background: bool, folder: Path) -> Dataset:
    root = root_of(name, folder, _PLACES, _SPLIT)
    files = {
        image: (f"JPEGImages/{image}.jpg", f"SegmentationClass/{image}.png")
        for image in read_split(name, root / _SPLIT)
    }
    require_files(name, root, (path for pair in files.values() for path in pair))
    numbers = range(1, len(CATEGORIES) + 1)
    table = label_table({0: 0 if counts_background else UNKNOWN, **{n: n for n in numbers}}, unknown=(255,))
    read = LabelFiles(name, root, files, table).read
    return Dataset(name, Vocabulary(CATEGORIES), tuple(files), read, counts_background)


def _kind(name: str, title: str, *, counts_background: bool) -> DatasetKind:
    return DatasetKind(
        name,
        title,
        CATEGORIES,
        partial(_find, name, counts_background),
        layout=_LAYOUT,
        obtain=_OBTAIN,
        image_count=1449,
        counts_background=counts_background,
    )


VOC21 = _kind("voc21", "PASCAL VOC 2012 val, with background", counts_background=True)
VOC20 = _kind("voc20", "PASCAL VOC 2012 val, without background", counts_background=False)
