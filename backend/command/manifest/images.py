"""The bytes of a row's image: from a folder, a storage or a web server; the images of the next rows come meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Protocol

from backend.command.addresses import read_at_most
from backend.command.manifest.rows import Row
from backend.errors import ImageReferenceError, ImageSourceError
from backend.sources.images import FetchesImages
from ovdiff.errors import MissingExtraError, StorageError
from ovdiff.storage import place

AHEAD = 16
"""So many images are on their way before their turn: at most 16 times OVDIFF_IMAGE_MAX_BYTES of memory."""
_THREADS = 8
_WEB = ("http://", "https://")


class BringsImages(Protocol):
    """What brings the images of rows; threads may share it."""

    def bytes_of(self, row: Row) -> bytes:
        """Return the bytes of a row's image.

        Raises:
            ImageSourceError: they cannot be had, or are too many.
        """
        ...

    def source_of(self, row: Row) -> str:
        """Return where a row's image is looked for; "" where the row says it all, as an address does."""
        ...


@dataclass(frozen=True)
class ImagesOfRows:
    """Brings the images of a manifest. Threads may share it.

    Attributes:
        folder: what paths are relative to, here or at an address.
        fetcher: brings what is at an address of the web, by the rules of the service; its limits hold for all images.
    """

    folder: Path
    fetcher: FetchesImages

    def bytes_of(self, row: Row) -> bytes:
        """Return the bytes of a row's image.

        Raises:
            ImageSourceError: they cannot be had, or are too many.
            StorageError: a storage is away for too long, so that the run ends; finished shards stay.
        """
        if row.image.lower().startswith(_WEB):
            return self.fetcher.fetch(row.image)
        try:
            path = place(row.image) if "://" in row.image else place(str(self.folder)) / row.image
        except (StorageError, MissingExtraError, ValueError) as error:
            raise ImageReferenceError(f"{error!s:.300}") from error
        return read_at_most(path, self.fetcher.limits.image_max_bytes)

    def source_of(self, row: Row) -> str:
        """Return the folder that a row's path is relative to; "" for an address and a path from the root."""
        if "://" in row.image or PurePath(row.image).is_absolute():
            return ""
        return str(self.folder.resolve()) if isinstance(self.folder, Path) else str(self.folder)


@dataclass(frozen=True)
class ImagesOfTasks:
    """Brings the images of a project's tasks, from where the tasks say. Threads may share it.

    Attributes:
        fetcher: brings what a task names.
        source: where that is looked for: the address of Label Studio and the project, or a folder.
    """

    fetcher: FetchesImages
    source: str

    def bytes_of(self, row: Row) -> bytes:
        """Return the bytes of a task's image.

        Raises:
            ImageSourceError: they may not or cannot be fetched, or are too many.
        """
        return self.fetcher.fetch(row.image, task_id=row.image_id)

    def source_of(self, row: Row) -> str:
        """Return where all images are looked for."""
        return self.source


def fetched_in_order(
    rows: Sequence[Row], fetch: Callable[[Row], bytes]
) -> Iterator[tuple[Row, bytes | ImageSourceError]]:
    """Yield each row with its image's bytes, or with why there are none; the next images are fetched meanwhile.

    Args:
        rows: the rows.
        fetch: returns the bytes of one row's image; several threads call it.
    """
    waiting: deque[tuple[Row, Future[bytes]]] = deque()
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="ovdiff-fetch")
    try:
        for row in rows:
            waiting.append((row, pool.submit(fetch, row)))
            if len(waiting) >= AHEAD:
                yield _result(*waiting.popleft())
        while waiting:
            yield _result(*waiting.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _result(row: Row, future: Future[bytes]) -> tuple[Row, bytes | ImageSourceError]:
    try:
        return row, future.result()
    except ImageSourceError as error:
        return row, error
