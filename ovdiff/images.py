"""Files, pictures and arrays become the one form of image that the method takes: (H, W, 3) uint8 RGB, upright.

This is the only module of `ovdiff` that converts images; every other module trusts the form. It never imports torch.
"""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from converters.files.image_files import PICTURE_FORMATS, to_rgb, turn_upright
from ovdiff.errors import ImageError

__all__ = ["ImageLike", "image_key", "read_image", "read_mask", "read_stored_image", "require_image"]

ImageLike = str | Path | Image.Image | NDArray[np.uint8] | NDArray[np.uint16]
"""A file's path, a Pillow image, or an array: grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4) in uint8, grey in uint16."""

_MASK_MODES = ("1", "L", "P", "RGB", "RGBA", "I", "I;16")
_MOST_PX = 100_000_000  # scores and margins of so many pixels take 0.8 GB
_ARRAY_FORMS = "grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4) in uint8, or grey (H, W) in uint16"


def read_image(image: ImageLike) -> NDArray[np.uint8]:
    """Return an image as (H, W, 3) uint8 RGB, upright.

    Files and Pillow images are turned by their EXIF orientation. Transparent pixels are shown on white. Grey and
    palette pictures become RGB, and 16 bits are reduced to 8. An array of the right form is returned as it is, not
    copied.

    Args:
        image: a path, a Pillow image, or an array: grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4) in uint8, or grey
            (H, W) in uint16.

    Raises:
        ImageError: the file is missing, damaged or no picture; the array has another form; or the image has more than
            100 million pixels.
    """
    if isinstance(image, np.ndarray):
        return _of_array(image)
    if isinstance(image, Image.Image):
        return _pixels(image, "The image")
    if isinstance(image, str | Path):
        return _of_file(image)
    raise ImageError(
        f"Expected a path, a Pillow image or an array, got {type(image).__name__}. Of bytes, make "
        "PIL.Image.open(io.BytesIO(data)); of a torch tensor (3, H, W), tensor.permute(1, 2, 0).cpu().numpy()."
    )


def read_stored_image(path: str | Path) -> NDArray[np.uint8]:
    """Return the image of a file as (H, W, 3) uint8 RGB, as :func:`read_image` does, but as its pixels are stored.

    Its EXIF orientation is not applied: the truth of a benchmark belongs to the stored pixels.

    Raises:
        ImageError: as :func:`read_image`.
    """
    return _of_file(path, turn=False)


def read_mask(path: str | Path) -> NDArray[np.bool_]:
    """Read a mask from a PNG: (H, W) bool, true where a pixel is not 0.

    The PNG may be black and white, grey, a palette picture or opaque RGB with equal channels. It must have at most two
    values, and one of two must be 0: of several nobody says which are foreground.

    Raises:
        ImageError: the file is missing or no PNG, or has other values; the message says which.
    """
    values, advice = _mask_values(path), "Save it as a grey PNG with 255 where the object is, and 0 elsewhere"
    if values.ndim == 3:
        if (values[..., 1:3] != values[..., :1]).any() or (values[..., 3:] != 255).any():
            raise ImageError(f"The mask {str(path)!r} has colours or is transparent. {advice}.")
        values = values[..., 0]
    found = np.unique(values).tolist()
    if len(found) > 2 or (len(found) == 2 and found[0] != 0):
        some = ", ".join(map(str, found[:6])) + (" and more" if len(found) > 6 else "")
        raise ImageError(
            f"The mask {str(path)!r} has {len(found)} values ({some}); expected two, of which one is 0: every pixel "
            f"that is not 0 is foreground. {advice}."
        )
    mask: NDArray[np.bool_] = values != 0
    return mask


def _mask_values(path: str | Path) -> NDArray[np.generic]:
    """Return the numbers of a PNG's pixels, (H, W) or (H, W, 3 or 4), as they are stored."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            _require_size((image.height, image.width), f"The mask {str(path)!r}")
            if image.mode not in _MASK_MODES:
                raise ImageError(f"The mask {str(path)!r} is of mode {image.mode}; expected {', '.join(_MASK_MODES)}.")
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"The mask {str(path)!r} cannot be read as a PNG: {error}.") from error


def _of_file(path: str | Path, *, turn: bool = True) -> NDArray[np.uint8]:
    if isinstance(path, str) and path.startswith(("http://", "https://")):
        raise ImageError(f"{path!r} is an address; images are read from files. Download it first, and give its path.")
    try:
        if not Path(path).is_file():
            what = (
                "is a folder; give the path of one image" if Path(path).is_dir() else "does not exist; correct its path"
            )
            raise ImageError(f"The image file {str(path)!r} {what} (the current folder is {str(Path.cwd())!r}).")
        with Image.open(path, formats=PICTURE_FORMATS) as image:
            return _pixels(image, f"The image file {str(path)!r}", turn=turn)
    except UnidentifiedImageError:
        known = ", ".join(PICTURE_FORMATS)
        raise ImageError(f"The file {str(path)!r} is no picture in one of {known}. Convert it to one.") from None
    except (OSError, Image.DecompressionBombError) as error:
        raise ImageError(f"The image file {str(path)!r} cannot be read: {error}.") from error


def _pixels(image: Image.Image, what: str, *, turn: bool = True) -> NDArray[np.uint8]:
    _require_size((image.height, image.width), what)
    try:
        return np.asarray(to_rgb(turn_upright(image) if turn else image), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's readers raise on damaged files
        raise ImageError(f"{what} cannot be used: {error}. Save it anew, as an 8-bit PNG or JPEG.") from error


def _of_array(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return an array's pixels. An array tells no orientation, so it is taken as upright."""
    if not array.size:
        raise ImageError(f"The image has no pixels: its shape is {array.shape}.")
    is_grey = array.ndim == 2
    if not (
        (array.dtype == np.uint8 and (is_grey or (array.ndim == 3 and array.shape[2] in (3, 4))))
        or (array.dtype == np.uint16 and is_grey)
    ):
        raise ImageError(f"Expected an array that is {_ARRAY_FORMS}; got {array.dtype} {array.shape}. {_advice(array)}")
    _require_size(array.shape[:2], "The image")
    if array.ndim == 3 and array.shape[2] == 3:
        return array  # type: ignore[return-value]  # uint8, as was just asked
    return _pixels(Image.fromarray(array), "The image")


def _advice(array: NDArray[np.generic]) -> str:
    """Return the advice for an array of another form."""
    if array.ndim == 4:
        return "Give one image at a time."
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        return "Its channels come first: give array.transpose(1, 2, 0)."
    if array.ndim == 3 and array.shape[2] == 1:
        return "Give array[:, :, 0]."
    if array.dtype.kind == "f":
        return "Of values from 0 to 1, make (array * 255).round().astype(numpy.uint8)."
    if array.dtype.kind == "b":
        return "This is a mask; give the image that it belongs to."
    return "Convert it first."


def _require_size(size_hw: tuple[int, ...], what: str) -> None:
    height, width = size_hw
    if not height * width:
        raise ImageError(f"{what} has no pixels: it is {width} x {height} px.")
    if height * width > _MOST_PX:
        raise ImageError(
            f"{what} has {width} x {height} pixels, more than {_MOST_PX}. Make it smaller, or cut it into parts."
        )


def require_image(image: NDArray[np.uint8]) -> None:
    """Check that an image is an (H, W, 3) uint8 array with at least one pixel.

    Raises:
        ImageError: the image is no such array, or has no pixels.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(f"Expected an (H, W, 3) uint8 RGB array, got {kind}. `ovdiff.read_image` makes one.")
    if not image.size:
        raise ImageError(f"The image has no pixels: its shape is {image.shape}.")


def image_key(image: NDArray[np.uint8]) -> str:
    """Return a hash of an image's shape and pixels."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)  # no copy: an image of 50 MP takes 150 MB
    return digest.hexdigest()
