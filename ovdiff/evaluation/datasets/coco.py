"""COCO val2017 by the pixels of COCO-Stuff: 171 classes, their 27 groups, and the 80 things with background.

The PNGs of ``stuffthingmaps_trainval2017`` hold the number of a category, less one: 0 to 90 with gaps are COCO's
things, 91 to 181 are stuff, 255 is unlabelled. COCO-Object counts every pixel of no thing as background, the unlabelled
ones too, as GroupViT's converter does.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from converters.files.class_lists import read_class_list
from ovdiff.evaluation.dataset import UNKNOWN, Dataset, DatasetKind
from ovdiff.evaluation.folders import FilesOf, choose_files, pair_files, root_of
from ovdiff.evaluation.label_files import LabelFiles, label_table
from ovdiff.evaluation.names import ovdiff_categories
from ovdiff.vocabulary import Category, Vocabulary

PLACES = (".", "coco", "coco_stuff164k")
"""Where a folder of COCO may be below the folder that is named."""

IMAGE_FOLDERS = ("val2017", "images/val2017")
"""Where the images of val2017 may be: as the archive unpacks, or as mmseg's documentation has them."""

_NUMBER = "[0-9]" * 12  # Converters put files such as 000000000139_labelTrainIds.png beside.
IMAGES = tuple(FilesOf(folder, ".jpg", _NUMBER) for folder in IMAGE_FOLDERS)
_MAP_FOLDERS = ("stuffthingmaps_trainval2017/val2017", "stuffthingmaps/val2017", "annotations/val2017", "val2017")
_MAPS = tuple(FilesOf(folder, ".png", _NUMBER) for folder in _MAP_FOLDERS)

OBTAIN_IMAGES = "The images are val2017.zip of cocodataset.org"

_UNLABELLED = 255
_ROWS = read_class_list("coco_stuff")
_GROUPS: Mapping[str, str] = {
    "electronic": "72-77",
    "appliance": "78-83",
    "food-things": "52-61",
    "furniture-things": "62-71",
    "indoor": "84-91",
    "kitchen": "44-51",
    "accessory": "26-33",
    "animal": "16-25",
    "outdoor": "10-15",
    "person": "1",
    "sports": "34-43",
    "vehicle": "2-9",
    "ceiling": "102 103",
    "floor": "101 114-118",
    "food-stuff": "121 122 153 170",
    "furniture-stuff": "98 107 108 110 112 123 130 133 156 161 165",
    "rawmaterial": "100 132 139 143",
    "textile": "92 93 104 105 109 131 137 141 152 167 168",
    "wall": "171-177",
    "window": "180 181",
    "building": "95 96 128 151 158 166",
    "ground": "111 125 126 136 140 144 145 147 149 154 159",
    "plant": "94 97 119 124 129 134 142 163 169",
    "sky": "106 157",
    "solid": "127 135 150 160 162 182",
    "structural": "99 113 138 146 164",
    "water": "120 148 155 178 179",
}
"""The 27 groups (PiCIE's order) and the numbers of their categories. Things and stuff both have food and furniture."""

OBJECTS = ovdiff_categories(row for row in _ROWS if row.kind == "thing")
STUFF = ovdiff_categories(_ROWS)
GROUPS = tuple(Category(name, (name.partition("-")[0],) if "-" in name else ()) for name in _GROUPS)


def _object_labels() -> dict[int, int]:
    things = [row.value - 1 for row in _ROWS if row.kind == "thing"]
    return {**dict.fromkeys((*range(182), _UNLABELLED), 0), **{value: label for label, value in enumerate(things, 1)}}


def _stuff_labels() -> dict[int, int]:
    return {_UNLABELLED: UNKNOWN, **{row.value - 1: label for label, row in enumerate(_ROWS, 1)}}


def _group_labels() -> dict[int, int]:
    grouped = enumerate(_GROUPS.values(), 1)
    return {_UNLABELLED: UNKNOWN, **{number - 1: label for label, text in grouped for number in _numbers(text)}}


def _numbers(text: str) -> list[int]:
    """Return the numbers of a text such as "1 3-5"."""
    ends = [part.partition("-") for part in text.split()]
    return [number for first, _, last in ends for number in range(int(first), int(last or first) + 1)]


def _find(
    name: str, categories: tuple[Category, ...], labels: Mapping[int, int], counts_background: bool, folder: Path
) -> Dataset:
    root = root_of(name, folder, PLACES, *IMAGE_FOLDERS)
    maps = choose_files(name, root, _MAPS)
    files = pair_files(name, root, choose_files(name, root, IMAGES), maps)
    read = LabelFiles(name, root, files, label_table(labels)).read
    return Dataset(name, Vocabulary(categories), tuple(files), read, counts_background)


def _kind(
    name: str,
    title: str,
    categories: tuple[Category, ...],
    labels: Mapping[int, int],
    *,
    counts_background: bool = False,
) -> DatasetKind:
    return DatasetKind(
        name,
        title,
        categories,
        partial(_find, name, categories, labels, counts_background),
        layout=("val2017/*.jpg", "stuffthingmaps_trainval2017/val2017/*.png"),
        obtain=(
            f"{OBTAIN_IMAGES}, the labels stuffthingmaps_trainval2017.zip of github.com/nightrome/cocostuff, to be "
            "unpacked in a folder of its name."
        ),
        image_count=5000,
        counts_background=counts_background,
    )


COCO_OBJECT = _kind("coco-object", "COCO-Object val2017", OBJECTS, _object_labels(), counts_background=True)
COCO_STUFF = _kind("coco-stuff", "COCO-Stuff val2017, 171 classes", STUFF, _stuff_labels())
COCO_STUFF27 = _kind("coco-stuff27", "COCO-Stuff val2017, 27 groups", GROUPS, _group_labels())
