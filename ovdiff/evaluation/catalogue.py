"""Which datasets there are, and how one is found by its name. No dataset's module is imported before it is named."""

from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import DatasetKind
from ovdiff.presets.added import AddedThings

GROUP = "ovdiff.datasets"
"""The entry point group in which other packages add datasets."""

_ADDED = AddedThings("dataset", GROUP, DatasetError)

_HERE = "ovdiff.evaluation.datasets"
BUILT_IN = {
    "drawn": f"{_HERE}.drawn:USUAL",
    "drawn-crowded": f"{_HERE}.drawn:CROWDED",
    "drawn-choosing": f"{_HERE}.drawn:CHOOSING",
    "voc21": f"{_HERE}.voc:VOC21",
    "voc20": f"{_HERE}.voc:VOC20",
    "context60": f"{_HERE}.context:CONTEXT60",
    "context59": f"{_HERE}.context:CONTEXT59",
    "pc459": f"{_HERE}.context:PC459",
    "coco-object": f"{_HERE}.coco:COCO_OBJECT",
    "coco-stuff": f"{_HERE}.coco:COCO_STUFF",
    "coco-stuff27": f"{_HERE}.coco:COCO_STUFF27",
    "coco-panoptic": f"{_HERE}.coco_panoptic:COCO_PANOPTIC",
    "cityscapes": f"{_HERE}.cityscapes:CITYSCAPES",
    "ade20k": f"{_HERE}.ade20k:ADE20K",
    "ade847": f"{_HERE}.ade20k:ADE847",
    "ade-panoptic": f"{_HERE}.ade_panoptic:ADE_PANOPTIC",
}
"""The built-in datasets by name: where their :class:`DatasetKind` stands."""


def dataset_names() -> tuple[str, ...]:
    """Return the names of all datasets, sorted."""
    return tuple(sorted({*BUILT_IN, *_ADDED.names()}))


def dataset_kind(name: str) -> DatasetKind:
    """Return a dataset by its name. A built-in dataset wins over a package's of the same name.

    Raises:
        DatasetError: there is no such dataset, several packages add it, or it cannot be imported.
    """
    entry = _ADDED.built_in(name, BUILT_IN[name]) if name in BUILT_IN else _ADDED.entry(name, dataset_names())
    return _ADDED.load(entry, DatasetKind, "a DatasetKind")
