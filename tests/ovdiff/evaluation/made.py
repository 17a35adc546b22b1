"""Small folders in the layouts of datasets, as tests make them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from converters.files.class_lists import read_class_list

EXIF_ORIENTATION = 0x0112
SIZE_HW = (6, 8)


def values(*rows: Sequence[int], dtype: type[np.generic] = np.uint8) -> NDArray[np.generic]:
    """Return (6, 8) values of pixels: each row of the argument is repeated to the width, the last one to the height."""
    filled = [list(row) + [row[-1]] * (SIZE_HW[1] - len(row)) for row in rows]
    return np.array(filled + [filled[-1]] * (SIZE_HW[0] - len(filled)), dtype=dtype)


def write_image(path: Path, mode: str = "RGB", orientation: int | None = None) -> None:
    """Write a picture of 8x6 pixels, of any mode, red on the left half of it where it has colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((*SIZE_HW, 3), dtype=np.uint8)
    pixels[:, :4, 0] = 255
    exif = Image.Exif()
    if orientation is not None:
        exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(pixels).convert(mode).save(path, exif=exif, **({"quality": 95} if path.suffix == ".jpg" else {}))


def write_labels(path: Path, labels: NDArray[np.generic], *, palette: bool = False) -> None:
    """Write the values of pixels as a grey picture or, with ``palette``, as one of colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(labels)
    if palette:
        picture.putpalette([channel for value in range(256) for channel in (value, 255 - value, value // 2)])
    picture.save(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class PanopticMade:
    """A panoptic dataset of one image: a thing, stuff, and pixels of which nobody says what they are.

    Attributes:
        root, images, pngs, json, objects: its folders and files, as the dataset has them.
        classes: its table of classes.
        name, key: the image's name, and its id in the JSON.
        thing, stuff: the numbers of two categories.
    """

    root: str
    images: str
    pngs: str
    json: str
    objects: str
    classes: str
    name: str
    key: int | str
    thing: int
    stuff: int

    def write(self, folder: Path) -> None:
        """Write it below a folder."""
        root = folder / self.root
        write_image(root / f"{self.images}/{self.name}.jpg")
        colours = np.zeros((*SIZE_HW, 3), dtype=np.uint8)
        colours[..., 0] = values((0, 1, 2))
        (root / self.pngs).mkdir(parents=True)
        Image.fromarray(colours).save(root / f"{self.pngs}/{self.name}.png")
        segments = [{"id": 1, "category_id": self.thing}, {"id": 2, "category_id": self.stuff}]
        content = {
            "images": [{"id": self.key, "file_name": f"{self.name}.jpg"}],
            "annotations": [{"image_id": self.key, "file_name": f"{self.name}.png", "segments_info": segments}],
            "categories": [{"id": row.value, "name": row.name} for row in read_class_list(self.classes)],
        }
        write_text(root / self.json, json.dumps(content))

    def write_object(self, root: Path) -> None:
        """Write the file of objects with one thing into the dataset's own folder."""
        content = {**json.loads((root / self.json).read_text()), "annotations": []}
        outline = [[1, 0, 2, 0, 2, 6, 1, 6]]
        content["annotations"] = [{"id": 1, "image_id": self.key, "category_id": self.thing, "segmentation": outline}]
        write_text(root / self.objects, json.dumps(content))
