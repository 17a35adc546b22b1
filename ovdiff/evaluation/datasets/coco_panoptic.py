"""COCO panoptic, val2017: 80 things and 53 kinds of stuff, with objects for average precision where there are some."""

from pathlib import Path

from converters.files.class_lists import read_class_list
from ovdiff.evaluation.dataset import Dataset, DatasetKind
from ovdiff.evaluation.datasets.coco import IMAGES, OBTAIN_IMAGES, PLACES
from ovdiff.evaluation.folders import FilesOf, root_of
from ovdiff.evaluation.names import ovdiff_categories
from ovdiff.evaluation.panoptic_files import MEASURES, PanopticFolder, open_panoptic

_CLASSES = read_class_list("coco_panoptic")
_WHERE = PanopticFolder(
    "annotations/panoptic_val2017.json",
    IMAGES,
    (FilesOf("annotations/panoptic_val2017", ".png"), FilesOf("panoptic_val2017", ".png")),
    "annotations/instances_val2017.json",
)


def _find(folder: Path) -> Dataset:
    name = "coco-panoptic"
    return open_panoptic(name, root_of(name, folder, PLACES, _WHERE.annotations), _WHERE, _CLASSES)


COCO_PANOPTIC = DatasetKind(
    "coco-panoptic",
    "COCO panoptic val2017",
    ovdiff_categories(_CLASSES, with_kinds=True),
    _find,
    layout=(
        "val2017/*.jpg",
        "annotations/panoptic_val2017.json",
        "annotations/panoptic_val2017/*.png",
        "annotations/instances_val2017.json, for average precision",
    ),
    obtain=(
        f"{OBTAIN_IMAGES}, the segments panoptic_annotations_trainval2017.zip, in which panoptic_val2017.zip is to be "
        "unpacked too, the objects annotations_trainval2017.zip."
    ),
    image_count=5000,
    counts_background=False,
    measures=MEASURES,
)
