"""Pascal Context on the images of VOC 2010, val: 59 classes, with and without background, and all 459 (PC-459).

The 59 classes are read from ``SegmentationClassContext``, which mmseg's converter writes (0 is what is none of them, 1
to 59 are the classes), or from the dataset's own label maps, ``trainval/*.mat``. These hold the 459 classes; a pixel of
another class than the 59 is then background. PC-459 is read from the ``.mat`` files too (0 is what nobody annotated),
or from ``annotations_ctx459``, 16-bit pictures that ODISE's script makes of them.
"""

from functools import partial
from pathlib import Path

from converters.files.class_lists import read_class_list
from ovdiff.evaluation.dataset import UNKNOWN, Dataset, DatasetKind
from ovdiff.evaluation.folders import FilesOf, find_root, pair_files, read_split, require_files, root_of
from ovdiff.evaluation.label_files import LabelFiles, label_table
from ovdiff.evaluation.names import ovdiff_categories
from ovdiff.vocabulary import Vocabulary

_ALL = read_class_list("context459")
_NAMES_59 = [row.name for row in read_class_list("context59")]
CATEGORIES_59 = ovdiff_categories(row for row in read_class_list("context59") if row.kind != "background")
CATEGORIES_459 = ovdiff_categories(row for row in _ALL if row.kind != "void")

_PLACES = ("VOCdevkit/VOC2010", "VOC2010", ".")
_PREPARED_PLACES = ("pascal_ctx_d2", ".")
_PREPARED = FilesOf("annotations_ctx459/validation", ".tif")
_CONVERTED, _ORIGINAL = FilesOf("SegmentationClassContext", ".png"), FilesOf("trainval", ".mat")
_IMAGES = FilesOf("JPEGImages", ".jpg")
_SPLIT, _VOC_SPLIT = "ImageSets/SegmentationContext/val.txt", "ImageSets/Main/val.txt"
_FROM_ALL = (
    "Labels were read from the 459 classes of trainval/*.mat; mmseg's SegmentationClassContext, on which figures are "
    "published, comes from the merged annotations (trainval_merged.json), which may differ in places."
)
_OBTAIN = (
    "The images are VOCtrainval_03-May-2010.tar of host.robots.ox.ac.uk/pascal/VOC/voc2010, the labels trainval.tar.gz "
    "of the Pascal Context page (cs.stanford.edu/~roozbeh/pascal-context), to be unpacked in VOCdevkit/VOC2010; or let "
    "mmsegmentation's converter for Pascal Context write SegmentationClassContext there."
)


def _files(name: str, root: Path, labels: FilesOf) -> dict[str, tuple[str, str]]:
    """Return the files of the images of the split. The converter's own list is used where there is one."""
    split = root / _SPLIT if (root / _SPLIT).is_file() else root / _VOC_SPLIT
    files = {image: (_IMAGES.path(image), labels.path(image)) for image in read_split(name, split)}
    require_files(name, root, (path for pair in files.values() for path in pair))
    return files


def _find_59(name: str, counts_background: bool, folder: Path) -> Dataset:
    root = root_of(name, folder, _PLACES, _CONVERTED.folder, _ORIGINAL.folder)
    background = 0 if counts_background else UNKNOWN
    is_converted = (root / _CONVERTED.folder).is_dir()
    if is_converted:
        table = label_table({0: background, **{n: n for n in range(1, 60)}}, unknown=(255,))
    else:
        place = {label: number for number, label in enumerate(_NAMES_59)}
        table = label_table({row.value: place.get(row.name, background) for row in _ALL})
    files = _files(name, root, _CONVERTED if is_converted else _ORIGINAL)
    read = LabelFiles(name, root, files, table).read
    notes = () if is_converted else (_FROM_ALL,)
    truth = "converted" if is_converted else "mat"
    return Dataset(name, Vocabulary(CATEGORIES_59), tuple(files), read, counts_background, notes=notes, truth=truth)


def _find_459(folder: Path) -> Dataset:
    name = "pc459"
    prepared = find_root(folder, _PREPARED_PLACES, _PREPARED.folder)
    if prepared is not None:
        files = pair_files(name, prepared, FilesOf("images/validation", ".jpg"), _PREPARED)
        table = label_table({number: number + 1 for number in range(459)}, unknown=(65535,))
        read = LabelFiles(name, prepared, files, table).read
    else:
        root = root_of(name, folder, _PLACES, _ORIGINAL.folder)
        files = _files(name, root, _ORIGINAL)
        read = LabelFiles(name, root, files, label_table({n: n for n in range(1, 460)}, unknown=(0,))).read
    truth = "mat" if prepared is None else "converted"
    return Dataset(name, Vocabulary(CATEGORIES_459), tuple(files), read, counts_background=False, truth=truth)


def _kind_59(name: str, title: str, *, counts_background: bool) -> DatasetKind:
    return DatasetKind(
        name,
        title,
        CATEGORIES_59,
        partial(_find_59, name, counts_background),
        layout=(
            f"{_SPLIT}, or {_VOC_SPLIT}",
            "JPEGImages/*.jpg",
            "SegmentationClassContext/*.png, or trainval/*.mat",
        ),
        obtain=_OBTAIN,
        image_count=5104,
        counts_background=counts_background,
    )


CONTEXT60 = _kind_59("context60", "Pascal Context val, 59 classes and background", counts_background=True)
CONTEXT59 = _kind_59("context59", "Pascal Context val, 59 classes", counts_background=False)
PC459 = DatasetKind(
    "pc459",
    "Pascal Context val, all 459 classes",
    CATEGORIES_459,
    _find_459,
    layout=(
        "ImageSets/Main/val.txt",
        "JPEGImages/*.jpg",
        "trainval/*.mat, or pascal_ctx_d2/images and annotations_ctx459 as ODISE prepares them",
    ),
    obtain=_OBTAIN,
    image_count=5105,
    counts_background=False,
)
