"""ADE20K panoptic, val: 100 things and 50 kinds of stuff of the 150 classes, as MaskFormer's scripts prepare it."""

from pathlib import Path

from converters.files.class_lists import read_class_list
from ovdiff.evaluation.dataset import Dataset, DatasetKind
from ovdiff.evaluation.folders import FilesOf, root_of
from ovdiff.evaluation.names import ovdiff_categories
from ovdiff.evaluation.panoptic_files import MEASURES, PanopticFolder, open_panoptic

_CLASSES = read_class_list("ade20k_panoptic")
_PLACES = ("ADEChallengeData2016", "ade/ADEChallengeData2016", ".")
_WHERE = PanopticFolder(
    "ade20k_panoptic_val.json",
    (FilesOf("images/validation", ".jpg"),),
    (FilesOf("ade20k_panoptic_val", ".png"),),
    "ade20k_instance_val.json",
)


def _find(folder: Path) -> Dataset:
    name = "ade-panoptic"
    return open_panoptic(name, root_of(name, folder, _PLACES, _WHERE.annotations), _WHERE, _CLASSES)


ADE_PANOPTIC = DatasetKind(
    "ade-panoptic",
    "ADE20K panoptic val",
    ovdiff_categories(_CLASSES, with_kinds=True),
    _find,
    layout=(
        "images/validation/*.jpg",
        "ade20k_panoptic_val.json",
        "ade20k_panoptic_val/*.png",
        "ade20k_instance_val.json, for average precision",
    ),
    obtain=(
        "It is ADEChallengeData2016.zip and annotations_instance.tar of sceneparsing.csail.mit.edu, of which "
        "MaskFormer's prepare_ade20k_pan_seg.py makes the segments, and "
        "Mask2Former's prepare_ade20k_ins_seg.py the objects."
    ),
    image_count=2000,
    counts_background=False,
    measures=MEASURES,
)
