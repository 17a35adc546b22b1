"""The pictures that a command writes; each is written whole or not at all, also when the run is interrupted."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image, PngImagePlugin

from backend.errors import RequestError, UsageError
from converters.files.atomic import write_whole

_MARK = ("Software", "ovdiff")  # a text chunk of every picture, by the PNG specification's name for what made it
_MARK_WITHIN_BYTES = 4096  # before the pixels come this mark and a palette of at most 768 bytes


def write_png(picture: Image.Image, path: Path) -> None:
    """Write a PNG, whole or not at all. Its folder is made if it is missing, and an older file is replaced.

    The file is marked, so that `is_own_picture` knows it again.

    Raises:
        RequestError: the file cannot be written, or its path is that of a folder or a device.
    """
    write_picture(png_bytes(picture), path)


def png_bytes(picture: Image.Image) -> bytes:
    """Return the bytes of a PNG with the mark by which `is_own_picture` knows it again."""
    data, mark = io.BytesIO(), PngImagePlugin.PngInfo()
    mark.add_text(*_MARK)
    picture.save(data, format="PNG", pnginfo=mark)
    return data.getvalue()


def write_picture(data: bytes, path: Path) -> None:
    """Write the bytes of a picture, whole or not at all, in a folder that is made if it is missing.

    Raises:
        RequestError: the file cannot be written, or its path is that of a folder or a device.
    """
    try:
        write_whole(path, data)
    except OSError as error:
        raise RequestError(f"Cannot write {path}: {error}.") from error


def check_png_path(option: str, path: Path | None) -> None:
    """Refuse a path that is not the name of a PNG file, or cannot be written, before work is done for the picture.

    Args:
        option: the option that gave the path, as in "--picture".
        path: the path; ``None`` where no picture is wanted.

    Raises:
        UsageError: the path does not end in .png, is a folder or a picture of somebody's, or cannot be written.
    """
    if path is None:
        return
    if path.suffix.lower() != ".png" or path.is_dir():
        raise UsageError(f"{option} is {str(path)!r}; expected the name of a file that ends in .png.")
    require_no_photograph(option, path)
    require_writable(option, path)


def require_no_photograph(option: str, path: Path) -> None:
    """Refuse to replace a file by a picture, unless the file is a picture that was drawn here, or empty.

    Args:
        option: the option that gave the path, as in "--picture".
        path: the picture that is to be written.

    Raises:
        UsageError: something else is there.
    """
    if path.is_file() and path.stat().st_size and not is_own_picture(path):
        raise UsageError(
            f"{option} is {str(path)!r}, a file that ovdiff did not draw; it would be replaced. Name another file."
        )


def require_writable(option: str, path: Path) -> None:
    """Refuse a place in which nothing can be written, before hours of work are done for it.

    Args:
        option: the option that gave the path, as in "--picture".
        path: a file or a folder that is to be written. Folders above it may be missing.

    Raises:
        UsageError: no file can be made in the nearest folder above it that is there.
    """
    above = path.absolute().parent
    try:
        above = next(each for each in path.absolute().parents if each.exists())
        tempfile.TemporaryFile(dir=above).close()  # it has no name that anybody sees
    except OSError as error:
        raise UsageError(
            f"{option} is {str(path)!r}, and nothing can be written in {str(above)!r}: {error.strerror or error}. Name "
            "another place."
        ) from error


def is_own_picture(path: Path) -> bool:
    """Return whether `write_png` made a file; only the file's beginning is read."""
    if not path.is_file():  # What is read of a pipe here could not be read again.
        return False
    name, text = _MARK
    chunk = f"tEXt{name}\0{text}".encode("latin-1")
    try:
        with path.open("rb") as file:
            start = file.read(_MARK_WITHIN_BYTES)
    except OSError:
        return False  # what is wrong with the file is said when it is read as an image
    return start.startswith(b"\x89PNG") and chunk in start
