"""Images at addresses such as s3://bucket/photos, as paths: `ovdiff.storage` asks whatever storage fsspec knows.

A storage that is away is asked again, as for a bank. Nothing is written here.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from backend.errors import ImageFetchError, ImageSourceError, ImageTooLargeError, UsageError
from backend.settings import ImageSettings
from converters.errors import ImageFileError
from converters.files.image_files import find_image_file, image_file_name, names_of_upload
from converters.files.redaction import without_secrets
from ovdiff.errors import StorageError
from ovdiff.storage import is_stored, place
from ovdiff.storage.patience import PATIENCE_S, reason


def image_path(text: str, patience_s: float = PATIENCE_S) -> Path:
    """Return what a person wrote as a path: a file or folder of this machine, or an address of a storage.

    What is returned for an address behaves as a path where it is read: it has names, parents and bytes.

    Args:
        text: what was written.
        patience_s: for how many seconds a storage that is away is asked again.

    Raises:
        UsageError: the address is of a kind that nobody knows here, or holds a password.
        MissingExtraError: the libraries for addresses are not installed.
    """
    with looking_at():
        return place(text, patience_s)


def shown_path(path: Path) -> str:
    """Return a path for messages: without a signature, which an address may hold."""
    return without_secrets(str(path))


@contextmanager
def looking_at() -> Iterator[None]:
    """Turn the error of a storage that is asked what it holds into one of the command's use.

    Raises:
        UsageError: the storage cannot be reached, refuses, or has no such thing.
    """
    try:
        yield
    except StorageError as error:
        raise UsageError(str(error)) from error


def files_below(folder: Path) -> list[Path]:
    """Return all files of a folder and of its subfolders, in the order of their paths; a storage is asked once.

    Raises:
        UsageError: the storage cannot be asked, or a folder cannot be listed.
    """
    if not is_stored(folder):
        walked = os.walk(folder, onerror=_refuse_folder)
        return sorted(Path(above, name) for above, _, names in walked for name in names)
    with looking_at():
        return list(folder.rglob("*"))


def _refuse_folder(error: OSError) -> None:
    if isinstance(error, FileNotFoundError) or Path(error.filename).name == "lost+found":
        return  # It was deleted meanwhile, or holds what a file system's check found, for the administrator alone.
    raise UsageError(
        f"The folder {str(error.filename)!r} cannot be listed, so its files would be left out: "
        f"{error.strerror or error}. Let this user list it, or name the other folders."
    ) from error


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        ImageSourceError: it cannot be read.
        StorageError: the storage is away for too long, which is no fault of the file.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageSourceError(f"it cannot be read: {reason(error)}.") from error
    except StorageError as error:
        if error.is_away:
            raise
        raise ImageSourceError(str(error)) from error


def read_at_most(path: Path, most_bytes: int) -> bytes:
    """Return a file's bytes. Of one that has too many no more are read than that shows.

    Args:
        path: a file of this machine, or a path in a storage as `ovdiff.storage.place` gives it.
        most_bytes: how many bytes it may have.

    Raises:
        ImageSourceError: it cannot be read, or has more bytes than that.
        StorageError: the storage is away for too long, which is no fault of the file.
    """
    try:
        size: int | None = path.stat().st_size
        has = f"{size} bytes, more than {most_bytes}"
        if is_stored(path) and size is not None and size <= most_bytes:
            return path.read_bytes()  # by one question: a stored file does not grow
        if size is None or size <= most_bytes:  # A web server may not say the size, and a file here may grow.
            _require_no_device(path)
            with path.open("rb") as stream:
                data = stream.read(most_bytes + 1)
            if len(data) <= most_bytes:
                return data
            has = f"more than {most_bytes} bytes"
        raise ImageTooLargeError(f"{shown_path(path)} has {has} (OVDIFF_IMAGE_MAX_BYTES).")
    except OSError as error:
        raise ImageFetchError(f"{shown_path(path)} cannot be read: {reason(error)}.") from error
    except ValueError as error:  # half a character, which no file's name can hold
        raise ImageFetchError(f"{shown_path(path)!a} cannot be read: {reason(error)}.") from error
    except StorageError as error:
        if error.is_away:
            raise
        raise ImageFetchError(str(error)) from error


def _require_no_device(path: Path) -> None:
    if not is_stored(path) and path.exists() and not path.is_file() and not path.is_dir():
        raise ImageFetchError(f"{shown_path(path)} is a device or a pipe, and no image file.")


def find_image(folder: Path, name: str) -> Path | None:
    """Return the path of an image by its name in a folder, ``None`` if it is not there or lies outside of the folder.

    Raises:
        StorageError: the storage cannot be asked.
    """
    if not is_stored(folder):
        return find_image_file(folder, name)
    for candidate in dict.fromkeys(names_of_upload(name)):
        # A name with a protocol of its own would lead elsewhere.
        if ".." not in PurePosixPath(candidate).parts and not candidate.startswith("/") and "://" not in candidate:
            path = folder / candidate
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
        StorageError: the storage cannot be asked.
    """
    name = image_file_name(reference, image_root)
    path = find_image(folder, name) or find_image(folder, PurePosixPath(name).name)
    if path is None:
        raise ImageSourceError(f"its image {without_secrets(reference)!r:.200} is not in {shown_path(folder)}.")
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
            StorageError: the storage is away for too long, which is no fault of the image.
        """
        try:
            path = image_below(self._folder, self._image_root, reference)
        except ImageFileError as error:
            raise ImageFetchError(str(error)) from error
        except StorageError as error:
            if error.is_away:
                raise
            raise ImageFetchError(str(error)) from error
        return read_at_most(path, self.limits.image_max_bytes)
