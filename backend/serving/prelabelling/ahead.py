"""Images that arrive before they are asked for, so that the models wait for no download.

What has arrived and was not asked for yet is bounded in bytes. A download of unknown size counts as the largest that is
allowed until it is there. So the bound holds however large the images are.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future

from backend.errors import BackendError, ImageFetchError
from backend.settings import ImageSettings
from backend.sources.images import FetchesImages
from ovdiff.errors import StorageError

MOST_BYTES = 256 * 2**20  # four images of the largest size that the settings allow by default
DOWNLOADS = 8  # at once; a server on another continent gives a few images a second over one connection

logger = logging.getLogger(__name__)

Key = tuple[str, int | None]


class FetchedAhead:
    """A fetcher that begins with images before they are asked for. Threads may share it.

    An image that was not announced, or whose turn has not come, is fetched when it is asked for.
    """

    def __init__(self, fetcher: FetchesImages, *, most_bytes: int = MOST_BYTES, downloads: int = DOWNLOADS) -> None:
        """Fetch nothing yet.

        Args:
            fetcher: what brings the images.
            most_bytes: of images that are here, or on their way, and were not asked for yet.
            downloads: how many images are on their way at once.
        """
        self._fetcher, self._most_bytes, self._downloads = fetcher, most_bytes, downloads
        self._changed = threading.Condition()
        self._waiting: OrderedDict[Key, None] = OrderedDict()
        self._begun: dict[Key, Future[bytes]] = {}
        self._held_bytes = 0  # what has arrived, and for each download the largest that is allowed
        self._threads: list[threading.Thread] = []
        self._closed = False

    @property
    def limits(self) -> ImageSettings:
        """How large an image may be, and how long it may take."""
        return self._fetcher.limits

    @property
    def clock_s(self) -> Callable[[], float]:
        """The present moment in seconds."""
        return self._fetcher.clock_s

    def soon(self, reference: str, task_id: int | None) -> None:
        """Announce an image; images are fetched in the order in which they were announced."""
        with self._changed:
            if not self._closed and (reference, task_id) not in self._begun:
                self._waiting[reference, task_id] = None
                if len(self._threads) < self._downloads:
                    thread = threading.Thread(target=self._work, name="ovdiff-ahead", daemon=True)
                    self._threads.append(thread)
                    thread.start()
                self._changed.notify()

    def fetch(self, reference: str, *, task_id: int | None = None, within_s: float = math.inf) -> bytes:
        """Return the bytes of an image, which is given away with that: the next call fetches it anew.

        Raises:
            ImageSourceError: as the fetcher raises it.
        """
        with self._changed:
            self._waiting.pop((reference, task_id), None)
            begun = self._begun.get((reference, task_id))
        if begun is None:
            return self._fetcher.fetch(reference, task_id=task_id, within_s=within_s)
        try:
            return begun.result()
        finally:
            self._drop((reference, task_id))
            del begun  # an error's traceback would hold it, and it the error

    def forget(self, reference: str, task_id: int | None) -> None:
        """Give up an image that nobody will ask for any more."""
        with self._changed:
            self._waiting.pop((reference, task_id), None)
        self._drop((reference, task_id))

    def close(self) -> None:
        """Begin no download any more. Those that are on their way are not waited for."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def _drop(self, key: Key) -> None:
        with self._changed:
            begun = self._begun.pop(key, None)
        if begun is not None:
            begun.add_done_callback(lambda arrived: self._release(_size_bytes(arrived)))

    def _release(self, held_bytes: int) -> None:
        with self._changed:
            self._held_bytes -= held_bytes
            self._changed.notify_all()

    def _work(self) -> None:
        while (taken := self._next()) is not None:
            key, arriving = taken
            try:
                image = self._fetcher.fetch(key[0], task_id=key[1])
            except (BackendError, StorageError) as error:
                self._release(self.limits.image_max_bytes)
                arriving.set_exception(error)
            except Exception as error:  # the thread is to live on, for the images after this one
                logger.exception("Fetching an image failed unexpectedly.")
                self._release(self.limits.image_max_bytes)
                arriving.set_exception(ImageFetchError(f"unexpected {type(error).__name__} while it was fetched."))
            else:
                self._release(self.limits.image_max_bytes - len(image))
                arriving.set_result(image)
                del image
            del taken, arriving

    def _next(self) -> tuple[Key, Future[bytes]] | None:
        """Wait until an image may be begun, and begin it; return None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._waiting and self._has_room()))
            if self._closed:
                return None
            key, _ = self._waiting.popitem(last=False)
            self._begun[key] = arriving = Future[bytes]()
            self._held_bytes += self.limits.image_max_bytes
            return key, arriving

    def _has_room(self) -> bool:
        return not self._held_bytes or self._held_bytes + self.limits.image_max_bytes <= self._most_bytes


def _size_bytes(arrived: Future[bytes]) -> int:
    return 0 if arrived.exception() is not None else len(arrived.result())
