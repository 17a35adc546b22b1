"""Photographs to try the pipeline on; scikit-image and scikit-learn contain them.

The embedded models know only a drawn world, so the masks of photographs have no meaning. The photographs serve another
purpose: they are real JPEG and PNG files, in colour and grey, of many sizes and in every EXIF orientation.
"""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from PIL import Image

PHOTOGRAPHS = {
    "skimage.data": (
        "astronaut.png",
        "camera.png",
        "chelsea.png",
        "coffee.png",
        "motorcycle_left.png",
        "rocket.jpg",
    ),
    "sklearn.datasets.images": ("china.jpg", "flower.jpg"),
}
"""The files, by package. All of them are in the installed packages: nothing is downloaded."""

ORIENTATION_TAG = 0x0112
ORIENTATIONS = range(1, 9)
_TURNED_PHOTOGRAPH = "chelsea.png"

# For each orientation, the operation that turns an upright image into the pixels that a camera stores. It is the
# inverse of the operation that a viewer applies; only those of 6 and 8 are not their own inverse.
_TO_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def write_photographs(folder: Path) -> list[Path]:
    """Copy the photographs to ``folder`` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for package, names in PHOTOGRAPHS.items():
        for name in names:
            paths.append(folder / name)
            paths[-1].write_bytes(files(package).joinpath(name).read_bytes())
    return paths


def write_orientations(folder: Path) -> list[Path]:
    """Write one photograph as eight JPEG files, one for each EXIF orientation. All of them show the same picture.

    The files differ in how the pixels are stored: orientations 5 to 8 store a landscape picture as a portrait picture.
    """
    with files("skimage.data").joinpath(_TURNED_PHOTOGRAPH).open("rb") as file:
        upright = Image.open(file).convert("RGB")
    return list(_write_turned(upright, folder))


def _write_turned(upright: Image.Image, folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for orientation in ORIENTATIONS:
        stored = upright.transpose(_TO_STORED[orientation]) if orientation in _TO_STORED else upright
        exif = Image.Exif()
        exif[ORIENTATION_TAG] = orientation
        path = folder / f"orientation-{orientation}.jpg"
        # Without subsampled colours, so that the decoded pictures differ by rounding alone.
        stored.save(path, quality=95, subsampling=0, exif=exif)
        yield path
