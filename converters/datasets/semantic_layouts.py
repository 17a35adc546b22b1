"""Where the label PNGs and the images of datasets lie: our own folder, VOC, ADE20K, Cityscapes, and any other folder.

    ours         DIR/masks/a/cat.png                                        a/cat.jpg, or as labels.json says
    voc          DIR/SegmentationClass/X.png, DIR/SegmentationObject/X.png  JPEGImages/X.jpg
    ade20k       DIR/annotations/training/X.png                             images/training/X.jpg
    cityscapes   DIR/gtFine/train/aachen/X_gtFine_instanceIds.png           leftImg8bit/train/aachen/X_leftImg8bit.png

The names of images are relative to the dataset's folder for a named layout, and to the folder of masks for any other.
Of Cityscapes' PNGs, the first kind that there is of instanceIds, labelIds, labelTrainIds and color is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath

from converters.errors import SemanticPNGError

MASKS_NAME = "masks"
_VOC_CLASSES, _VOC_OBJECTS = "SegmentationClass", "SegmentationObject"
_CITYSCAPES = ("instanceIds", "labelIds", "labelTrainIds", "color")
_CITYSCAPES_FOLDERS = ("gtFine", "gtCoarse")
_TRAIN_IDS = "cityscapes_train_ids"


@dataclass(frozen=True)
class MaskFile:
    """A label PNG.

    Attributes:
        image: the name of its image.
        path: the PNG, None if its name leads out of the folder.
        name: what it is called in messages.
        objects: a PNG that tells the objects of a class apart, None if there is none.
        task_id: the number of its task, None if unknown.
    """

    image: str
    path: Path | None
    name: str
    objects: Path | None = None
    task_id: int | str | None = None


@dataclass(frozen=True)
class Layout:
    """The label PNGs of a folder.

    Attributes:
        files: the PNGs with their images.
        labels: the name of the list of labels that fits, None if the caller knows it.
        holds_instances: whether a value of 1000 or more is 1000 times the class, plus the number of an object.
    """

    files: tuple[MaskFile, ...]
    labels: str | None = None
    holds_instances: bool = False


def layout_of(folder: Path, labels: str, image_suffix: str) -> Layout:
    """Find the label PNGs of a folder.

    Args:
        folder: the folder of the dataset.
        labels: "voc", "ade20k" or "cityscapes" for the layout of that dataset where the folder has it, or a folder one
            or two levels below; or anything else for the PNGs below DIR/masks, or below DIR if there is no such folder.
        image_suffix: the suffix of the images' names, for PNGs in no known layout.

    Raises:
        SemanticPNGError: the folder holds no PNG.
    """
    find = {"voc": _voc, "ade20k": _ade20k, "cityscapes": _cityscapes}.get(labels, lambda _: None)
    # Archives hold folders in folders (VOCdevkit/VOC2012), and other PNGs there would be taken for label PNGs.
    inner = (sorted(path for path in folder.glob(deeper) if path.is_dir()) for deeper in ("*/", "*/*/"))
    found = (layout for place in (folder, *chain.from_iterable(inner)) if (layout := find(place)) is not None)
    layout = next(found, None) or Layout(tuple(_plain(folder, image_suffix)))
    if not layout.files:
        raise SemanticPNGError(f"expected label PNGs in {folder} or its folder {MASKS_NAME}/, got none")
    return layout


def _plain(folder: Path, image_suffix: str) -> Iterator[MaskFile]:
    masks = folder / MASKS_NAME if (folder / MASKS_NAME).is_dir() else folder
    for name, path in _pngs(masks):
        yield MaskFile(str(PurePosixPath(name).with_suffix(image_suffix)), path, name)


def _voc(folder: Path) -> Layout | None:
    years = sorted(path for path in folder.glob("VOC*") if (path / _VOC_CLASSES).is_dir())
    root = folder if (folder / _VOC_CLASSES).is_dir() or not years else years[-1]
    objects = root / _VOC_OBJECTS
    files = [
        MaskFile(f"JPEGImages/{PurePosixPath(name).with_suffix('.jpg')}", path, name, _if_there(objects / name))
        for name, path in _pngs(root / _VOC_CLASSES)
    ]
    return Layout(tuple(files)) if files else None


def _ade20k(folder: Path) -> Layout | None:
    pngs = _pngs(folder / "annotations")
    files = [MaskFile(f"images/{PurePosixPath(name).with_suffix('.jpg')}", path, name) for name, path in pngs]
    return Layout(tuple(files)) if files else None


def _cityscapes(folder: Path) -> Layout | None:
    for part in _CITYSCAPES_FOLDERS:
        pngs = _pngs(folder / part)
        for kind in _CITYSCAPES:
            ending = f"_{part}_{kind}.png"
            files = [
                MaskFile(f"leftImg8bit/{name.removesuffix(ending)}_leftImg8bit.png", path, name)
                for name, path in pngs
                if name.endswith(ending)
            ]
            if files:
                return Layout(tuple(files), _TRAIN_IDS if kind == "labelTrainIds" else None, kind == "instanceIds")
    return None


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _pngs(folder: Path) -> list[tuple[str, Path]]:
    """Return the names and paths of the PNGs below a folder, in order; none if there is no folder."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() == ".png" and path.is_file())
    return sorted((path.relative_to(folder).as_posix(), path) for path in found)
