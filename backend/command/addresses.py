"""Images at addresses such as s3://bucket/photos, as paths: whatever storage fsspec knows, by universal_pathlib.

What is read is one file at a time. Nothing is written there: results go to files of this machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, cast

from backend.errors import ImageFetchError, ImageSourceError, ImageTooLargeError, UsageError
from backend.settings import ImageSettings
from converters.errors import ConverterError, ImageFileError
from converters.files.image_files import find_image_file, image_file_name, names_of_upload
from ovdiff.errors import StorageError
from ovdiff.extras import naming_the_extra
from ovdiff.storage.addresses import path_or_address
from ovdiff.storage.patience import is_away
from ovdiff.storage.redaction import without_secrets


def image_path(text: str) -> Path:
    """Return what a person wrote as a path: a file or folder of this machine, or an address of a storage.

    What is returned for an address behaves as a path where it is read: it has names, parents and bytes.

    Raises:
        UsageError: the address is of a kind that nobody knows here, or holds a password.
        MissingExtraError: the libraries for addresses are not installed.
    """
    try:
        found = path_or_address(text)
    except StorageError as error:
        raise UsageError(str(error)) from error
    if isinstance(found, Path):
        return found
    with naming_the_extra("Reading images from an address"):
        from upath import UPath
    try:
        path = UPath(text)
        path.fs  # noqa: B018 — the storage's own library is looked for here
    except Exception as error:
        raise UsageError(f"{without_secrets(text)} cannot be read: {_why(error)}.") from error
    return cast(Path, path)


def is_remote(path: Path) -> bool:
    """Say whether a path is an address of a storage."""
    return not isinstance(path, Path)


@contextmanager
def looking_at(path: Path, done: str = "listed") -> Iterator[None]:
    """Turn whatever a storage raises while it is asked what it holds into an error in words.

    Args:
        path: what is looked at.
        done: what cannot be done with it then, such as "listed" or "read".

    Raises:
        UsageError: the storage cannot be reached, refuses, or has no such thing.
    """
    try:
        yield
    except (UsageError, ConverterError):
        raise
    except StorageError as error:
        raise UsageError(str(error)) from error
    except Exception as error:
        if not is_remote(path):
            raise
        raise UsageError(f"{without_secrets(str(path))} cannot be {done}: {_why(error)}. {_advice(path)}") from error


def files_below(folder: Path) -> list[Path]:
    """Return all files of a folder and of its subfolders, in the order of their paths; a storage is asked once."""
    if not is_remote(folder):
        return sorted(file for file in folder.rglob("*") if not file.is_dir())
    storage: Any = folder
    inside = PurePosixPath(storage.path)
    with looking_at(folder):
        found = storage.fs.find(storage.path)
    return [folder / PurePosixPath("/" * storage.path.startswith("/") + name.lstrip("/")).relative_to(inside).as_posix()
            for name in sorted(found)]  # fmt: skip


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        ImageSourceError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageSourceError(f"it cannot be read: {error.strerror or error}.") from error
    except Exception as error:
        if not is_remote(path):
            raise
        raise ImageSourceError(f"it cannot be read: {_why(error)}.") from error


def read_at_most(path: Path, most_bytes: int) -> bytes:
    """Return a file's bytes, after a look at their number; a storage is asked again while it is away.

    Args:
        path: a file of this machine, or a path in a storage as `ovdiff.storage.place` gives it.
        most_bytes: how many bytes it may have.

    Raises:
        ImageSourceError: it cannot be read, or has more bytes than that.
        StorageError: the storage is away for too long.
    """
    try:
        if path.stat().st_size > most_bytes:
            raise ImageTooLargeError(f"{path} has more than {most_bytes} bytes (OVDIFF_IMAGE_MAX_BYTES).")
        return path.read_bytes()
    except OSError as error:
        raise ImageFetchError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:  # half a character, which no file's name can hold
        raise ImageFetchError(f"{str(path)!a} cannot be read: {error}.") from error
    except StorageError as error:
        if error.__cause__ is not None and is_away(error.__cause__):
            raise
        raise ImageFetchError(str(error)) from error


def find_image(folder: Path, name: str) -> Path | None:
    """Return the path of an image by its name in a folder, ``None`` if it is not there or lies outside of the folder.

    Raises:
        UsageError: the storage cannot be asked.
    """
    if not is_remote(folder):
        return find_image_file(folder, name)
    for candidate in dict.fromkeys(names_of_upload(name)):
        # A name with a protocol of its own would lead elsewhere.
        if ".." not in PurePosixPath(candidate).parts and not candidate.startswith("/") and "://" not in candidate:
            path = folder / candidate
            with looking_at(folder):
                if path.is_file():
                    return path
    return None


def image_below(folder: Path, image_root: str, reference: str) -> Path:
    """Return the path of the image to which a task refers: by its name below a folder, or by its address's last part.

    Args:
        folder: where the images are.
        image_root: what precedes the names of images in the tasks' addresses.
        reference: what the task says of its image.

    Raises:
        ImageSourceError: it is not there.
        UsageError: the storage cannot be asked.
    """
    name = image_file_name(reference, image_root)
    path = find_image(folder, name) or find_image(folder, PurePosixPath(name).name)
    if path is None:
        raise ImageSourceError(f"its image {reference!r:.200} is not in {folder}.")
    return path


class ImagesBelow:
    """Fetches the images of tasks from a folder or an address of a storage, not from where the tasks say.

    Threads may share it.
    """

    def __init__(self, folder: Path, image_root: str, limits: ImageSettings) -> None:
        """Read nothing yet.

        Args:
            folder: where the images are.
            image_root: what precedes the names of images in the tasks' addresses.
            limits: how large an image may be.
        """
        self._folder, self._image_root, self.limits = folder, image_root, limits
        self.clock_s: Callable[[], float] = time.monotonic

    def fetch(self, reference: str, *, task_id: int | None = None, within_s: float = math.inf) -> bytes:
        """Return the bytes of the image to which a task refers.

        Raises:
            ImageSourceError: it is not there, cannot be read, or has too many bytes.
        """
        try:
            path = image_below(self._folder, self._image_root, reference)
            with looking_at(path):
                size = path.stat().st_size
        except (UsageError, ImageFileError) as error:
            raise ImageFetchError(str(error)) from error
        if size > self.limits.image_max_bytes:
            raise ImageTooLargeError(
                f"{path} has {size} bytes, more than {self.limits.image_max_bytes} (OVDIFF_IMAGE_MAX_BYTES)."
            )
        try:
            return read_bytes(path)
        except ImageSourceError as error:
            raise ImageFetchError(f"{path}: {error}") from error


def _why(error: Exception) -> str:
    text = str(error).strip().rstrip(".") or type(error).__name__
    return without_secrets(text)[:300]


def _advice(path: Path) -> str:
    if str(path).startswith("s3:"):
        return "S3 is asked as AWS's own tools ask it: AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and the like."
    return "Its address and the settings of its library decide whether it can be reached."
