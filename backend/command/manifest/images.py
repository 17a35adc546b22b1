"""The bytes of a row's image: from a folder, a storage or a web server, or from where a task says."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath

from backend.command.addresses import read_at_most
from backend.command.manifest.rows import Row
from backend.errors import ImageReferenceError
from backend.settings import ImageSettings, LabelStudioSettings
from backend.sources.fetch import Fetcher
from backend.sources.images import FetchesImages
from backend.sources.label_studio import LabelStudioClient
from ovdiff.errors import MissingExtraError, StorageError
from ovdiff.storage import place
from ovdiff.storage.patience import PATIENCE_S

_WEB = ("http://", "https://")


@dataclass(frozen=True)
class FetcherOfSettings:
    """A fetcher that can be pickled: each process makes its own of the settings. Threads may share it."""

    label_studio: LabelStudioSettings
    limits: ImageSettings

    @property
    def clock_s(self) -> Callable[[], float]:
        """The present moment in seconds."""
        return time.monotonic

    def fetch(self, reference: str, *, task_id: int | None = None, within_s: float = math.inf) -> bytes:
        """Return the bytes of an image.

        Raises:
            ImageSourceError: the image may not or cannot be fetched, or has too many bytes.
        """
        return _fetcher(self.label_studio, self.limits).fetch(reference, task_id=task_id, within_s=within_s)


@lru_cache(maxsize=1)
def _fetcher(label_studio: LabelStudioSettings, limits: ImageSettings) -> Fetcher:
    return Fetcher(LabelStudioClient(label_studio), limits)


@dataclass(frozen=True)
class ImagesOfRows:
    """Brings the images of a manifest. Threads may share it, and it can be pickled.

    Attributes:
        folder: what paths are relative to, a path or an address.
        fetcher: brings what is at an address of the web, by the rules of the service; its limits hold for all images.
        patience_s: for how many seconds a storage that is away is asked again.
    """

    folder: str
    fetcher: FetchesImages
    patience_s: float = PATIENCE_S

    def bytes_of(self, row: Row) -> bytes:
        """Return the bytes of a row's image.

        Raises:
            ImageSourceError: they cannot be had, or are too many.
            StorageError: a storage is away for too long, so that the run ends; finished shards stay.
        """
        if row.image.lower().startswith(_WEB):
            return self.fetcher.fetch(row.image)
        try:
            is_whole = "://" in row.image
            path = place(row.image if is_whole else self.folder, self.patience_s)
            path = path if is_whole else path / row.image
        except (StorageError, MissingExtraError, ValueError) as error:
            raise ImageReferenceError(f"{error!s:.300}") from error
        return read_at_most(path, self.fetcher.limits.image_max_bytes)

    def source_of(self, row: Row) -> str:
        """Return the folder that a row's path is relative to; "" for an address and a path from the root."""
        if "://" in row.image or PurePath(row.image).is_absolute():
            return ""
        return self.folder if "://" in self.folder else str(Path(self.folder).resolve())


@dataclass(frozen=True)
class ImagesOfTasks:
    """Brings the images of a project's tasks, from where the tasks say. Threads may share it, and it can be pickled.

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
