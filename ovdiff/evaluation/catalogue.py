"""Which datasets there are, and how one is found by its name. No dataset's module is imported before it is named."""

from importlib import metadata
from pkgutil import resolve_name

from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import DatasetKind

GROUP = "ovdiff.datasets"
"""The entry point group in which other packages add datasets."""

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
    return tuple(sorted({*BUILT_IN, *(entry.name for entry in metadata.entry_points(group=GROUP))}))


def dataset_kind(name: str) -> DatasetKind:
    """Return a dataset by its name. A built-in dataset wins over a package's of the same name.

    Raises:
        DatasetError: there is no such dataset, several packages add it, or it cannot be imported.
    """
    address = BUILT_IN.get(name) or _added(name)
    try:
        kind = resolve_name(address)
    except (Exception, SystemExit) as error:  # Whatever a module of another package raises when it is imported.
        raise DatasetError(
            f"The dataset {name!r} ({address}) cannot be imported: {type(error).__name__}: {error}."
        ) from error
    if not isinstance(kind, DatasetKind):
        raise DatasetError(f"The dataset {name!r} ({address}) is {type(kind).__name__}; expected a DatasetKind.")
    return kind


def _added(name: str) -> str:
    """Return the address of a dataset that another package adds."""
    values = sorted({entry.value for entry in metadata.entry_points(group=GROUP, name=name)})
    if not values:
        raise DatasetError(
            f"There is no dataset {name!r}. Known: {', '.join(dataset_names())}. Other packages may add some, by the "
            f"entry point group {GROUP!r}."
        )
    if len(values) > 1:
        raise DatasetError(f"Several packages add the dataset {name!r}: {', '.join(values)}. Uninstall all but one.")
    return values[0]
