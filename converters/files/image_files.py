"""Image files behind the addresses in tasks: their names in a dataset, and their sizes.

A file name here is relative, with "/" between folders, as COCO's `file_name` has it.
"""

import base64
import re
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, quote, unquote, urlsplit

import numpy as np
from PIL import Image

from converters.encodings.masks import require_size
from converters.errors import ImageFileError

SizeLookup = Callable[[str], tuple[int, int] | None]
"""From a file name to (height, width) in pixels as shown (EXIF applied), None if unknown."""

PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""What cameras, browsers and scanners make. Pillow's other readers (PostScript, ...) get no strangers' bytes."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")
"""The suffixes of image files, in lower case."""

_EXIF_ORIENTATION = 0x0112
_UPLOAD_PREFIX = re.compile(r"((?:^|.*/))[0-9a-f]{8}-(?=[^/]+$)")
_NOT_OF_UPLOADS = re.compile(r"[^-\w.]")
_LINK_TO_STORAGE = re.compile(
    r"(?:https?:/)?/(?:[^?]*/)?(?:tasks|projects)/[0-9]+/(?:resolve|presign)/\?fileuri=([^&]+)"
)
_IN_CLOUD = re.compile(r"(?!https?:|file:)[a-z][a-z0-9+.-]*://[^/]*/", re.IGNORECASE)  # there names stay as they are
_ASKED_FOR = ("/", "http://", "https://")
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height


def image_file_name(address: str, image_root: str = "") -> str:
    """Return the file name for an image's address: relative to `image_root`, or without what Label Studio put in front.

    >>> image_file_name("/data/upload/7/1f2e3d4c-cat%201.png")
    '1f2e3d4c-cat 1.png'
    >>> image_file_name("/data/local-files/?d=imgs/cat.png")
    'imgs/cat.png'
    >>> image_file_name("s3://bucket/a/cat.png", image_root="s3://bucket/")
    'a/cat.png'
    >>> image_file_name("/tasks/5/resolve/?fileuri=czM6Ly9idWNrZXQvYS9jYXQucG5n", image_root="s3://bucket/")
    'a/cat.png'

    Raises:
        ImageFileError: the address does not begin with `image_root`, or is no URL.
    """
    address = _stored_address(address)
    if image_root:
        if not address.startswith(image_root):
            raise ImageFileError(f"expected an image address that begins with {image_root!r}, got {address!r}")
        name = address.removeprefix(image_root)
        return (name if _IN_CLOUD.match(address) else unquote(name)).lstrip("/")
    if in_cloud := _IN_CLOUD.match(address):
        return address[in_cloud.end() :].lstrip("/")
    try:
        parts = urlsplit(address, allow_fragments=False)  # a "#" in a path is part of a name
    except ValueError as error:
        raise ImageFileError(f"expected a path or URL of an image, got {address!r:.100}: {error}") from error
    if parts.path.rstrip("/").endswith("/data/local-files"):
        return parse_qs(parts.query).get("d", [address])[0].lstrip("/")
    _, is_upload, after = parts.path.partition("/data/upload/")
    return unquote(after.partition("/")[2] if is_upload else parts.path).lstrip("/")


def _stored_address(address: str) -> str:
    """Return the address in a storage for which Label Studio gave a link of its own; any other address as it is.

    Tasks of the API hold such links, `/tasks/5/resolve/?fileuri=` and the address in Base64, unless it was asked for
    tasks with `resolve_uri=false`.
    """
    found = _LINK_TO_STORAGE.fullmatch(address)
    if found is None:
        return address
    try:
        return base64.urlsafe_b64decode(unquote(found[1])).decode()
    except ValueError:  # not its own after all
        return address


def image_address(name: str, image_root: str = "") -> str:
    """Return the address under which Label Studio shows a file; `image_file_name` with the same root turns it back.

    The name is quoted if a browser will ask for the address. In the address of a cloud, and without a root, the name
    stays as it is.

    >>> image_address("cat #1.png", "/data/local-files/?d=imgs/")
    '/data/local-files/?d=imgs/cat%20%231.png'
    >>> image_address("cat #1.png", "s3://bucket/")
    's3://bucket/cat #1.png'
    """
    return image_root + (quote(name, errors="surrogatepass") if image_root.startswith(_ASKED_FOR) else name)


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of a picture, 1 to 8 (tag 0x0112); 1 is upright.

    Only EXIF counts, because that is how browsers read a picture. Pillow's own `getexif` also believes XMP and
    ImageMagick's text chunks, which Chromium 156 ignores in every format: a mask that follows Pillow would lie across
    the picture that people see. A TIFF counts as upright, because Pillow turns it by itself.
    """
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif") or b"")
        orientation = exif.get(_EXIF_ORIENTATION, 1)
    except (SyntaxError, ValueError, LookupError, OSError, struct.error):  # no EXIF, whatever it was called
        return 1
    return orientation if orientation in range(1, 9) else 1


def folder_images(folder: Path) -> list[str]:
    """Return the names of all files below a folder that are images by their suffix, in order, with "/" in between."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def names_of_upload(name: str) -> tuple[str, str]:
    """Return the name of a file, and that name without what Label Studio puts in front of uploaded files."""
    return name, _UPLOAD_PREFIX.sub(r"\1", name)


def find_image_file(folder: Path, name: str) -> Path | None:
    """Return the path of an image by its name in a folder, None if there is no such file or it lies outside the folder.

    Label Studio puts eight digits and a dash in front of the names of uploaded files, and leaves letters, digits and
    ".", "-", "_" of them alone: "cat (1).png" becomes "1f2e3d4c-cat_1.png". The file is found under the name that it
    had before, too, unless another file of its folder would have been given the same name.
    """
    root = folder.resolve()
    return next(filter(None, (_file_inside(root, each) for each in _possible_names(root, name))), None)


def _possible_names(root: Path, name: str) -> Iterator[str]:
    """Yield the names that an image may have in a folder, as they are asked for: the last one takes a listing."""
    given, before = names_of_upload(name)
    yield given
    if before != given:
        yield before
        original = _name_before_upload(root, PurePosixPath(before))
        yield from () if original is None else [original]


def _file_inside(root: Path, name: str) -> Path | None:
    try:
        path = (root / name).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None
    except (OSError, ValueError):  # a name of a thousand letters, a NUL
        return None


def _name_before_upload(root: Path, uploaded: PurePosixPath) -> str | None:
    """Return the name of the one file of which an upload would have made a name; None if there is none."""
    folder = root / uploaded.parent
    if ".." in uploaded.parts:
        return None
    try:
        original = _names_by_upload(folder, folder.stat().st_mtime_ns).get(uploaded.name)
        return None if original is None else str(uploaded.with_name(original))
    except (OSError, ValueError):  # no such folder, or no name
        return None


@lru_cache(maxsize=4)
def _names_by_upload(folder: Path, _changed_ns: int) -> dict[str, str | None]:
    """Return the names in a folder by what an upload would make of them; None where it would make one of several.

    Label Studio's part of it is Django's `get_valid_filename`.
    """
    found: dict[str, str | None] = {}
    for path in folder.iterdir():
        uploaded = _NOT_OF_UPLOADS.sub("", path.name.strip().replace(" ", "_"))
        found[uploaded] = None if uploaded in found else path.name
    return found


def turn_upright(image: Image.Image) -> Image.Image:
    """Read a picture's pixels, and return the picture as it is shown: turned by its EXIF orientation.

    Raises:
        OSError: the pixels cannot be read.
    """
    image.load()  # a PNG may tell its orientation after its pixels
    turn = _TO_UPRIGHT.get(exif_orientation(image))
    return image if turn is None else image.transpose(turn)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return a picture of any mode as RGB, looking as it does on a white page: 16 bits are reduced to 8.

    Raises:
        ValueError: the pixels are floating-point numbers, or grey values outside 0 to 65535.
    """
    if image.mode.startswith("I"):
        return _from_16_bit(image).convert("RGB")
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, of which nobody says what is white")
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(page, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def upright_image(path: Path) -> Image.Image:
    """Read an image as it is shown: RGB, turned by its EXIF orientation.

    Raises:
        ImageFileError: the image cannot be read, or has too many pixels.
    """
    try:
        with Image.open(path) as image:
            require_size((image.height, image.width))
            return to_rgb(turn_upright(image))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageFileError(f"{path.name!r} is no image that can be read: {error}") from error


def folder_sizes(folder: Path) -> SizeLookup:
    """Return a look-up of the sizes of images in a folder by file name, as shown: EXIF orientation applied.

    Files are found as by `find_image_file`, and only their headers are read. The size is None if the file is missing,
    lies outside the folder, or is no image.
    """

    def size_hw(name: str) -> tuple[int, int] | None:
        path = find_image_file(folder, name)
        if path is None:
            return None
        try:
            with Image.open(path) as image:
                width, height = image.size
                sideways = exif_orientation(image) in _SIDEWAYS
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None
        return (width, height) if sideways else (height, width)

    return size_hw


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Return an 8-bit grey image; Pillow's `convert` clips at 255, which makes nearly everything white."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"its grey values run from {values.min()} to {values.max()}, expected 0 to 65535")
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
