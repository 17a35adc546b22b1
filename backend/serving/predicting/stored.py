"""Predictions on disk, so that a repeated request is a look-up, also after a restart and while the models are busy.

    <data>/predictions/<key>.json    a checksum, then the hashes of the images' bytes, each with its tag, and the item

A key is the digest of the task's id, of the addresses of its images and of the model version, in which is all that
decides a prediction but the images. A stored item counts only while each image is the one that it was made of:

- The address of an upload says which bytes are there (`backend.sources.upload_addresses`). Nothing is fetched before
  the answer. It is fetched behind it, at most once in `remember_s` (`backend.serving.predicting.rechecks`). So whoever
  writes over the file on Label Studio's disk gets old masks for so long, and then once more, and no longer.
- Any other image may be replaced under its address, as in a folder or a bucket. So its server is asked before the
  answer. If it gave a tag (ETag) with the image, it may say that the image still is the one of this tag, by which
  browsers decide, too, what a person sees. Otherwise the image is fetched, and must have the same bytes. What a server
  says of the moment of a change (Last-Modified) is not enough: a file that is moved there may be older.

No image is decoded, and no model runs.

The folder is only a cache: whatever goes wrong with it costs a prediction and fails none. A file appears whole or not
at all; a damaged one counts as absent and is replaced. What was unused for longest is deleted beyond a bound.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.serving.predicting.recent import ImageAddress
from backend.serving.predicting.rechecks import Belief, Rechecks
from backend.settings import ImageSettings
from backend.sources.images import FetchesImages, KnowsUnchangedImages
from converters.files.atomic import delete_left_overs, write_whole

logger = logging.getLogger(__name__)

Item = dict[str, Any]

MOST_ADDRESSES = 10_000
LOOK_UPS = 8  # at once; each holds the bytes of an image
LEAVES = 0.9  # of the bound, when something is deleted: the folder is not listed for each new file
_SUFFIX = ".json"
_DIGITS = 64  # of a SHA-256 in hex


class StoredItems:
    """A folder of items within a bound on its bytes. Threads may share it; one process at a time uses it."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """Use a folder, which is made when the first item is kept; 0 bytes keep none."""
        self._folder, self._most_bytes = folder, most_bytes
        self._lock = threading.Lock()
        self._bytes: int | None = None  # of all files; None until they are counted
        self._told = False

    def get(self, key: str) -> tuple[list[str], Item] | None:
        """Return the signs of the images and the item of a key; None if there is none, or a damaged one."""
        if not self._most_bytes:
            return None
        path = self._path(key)
        try:
            data = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._tell(f"cannot be read ({error})")
            return None
        found = _read(data)
        if found is None:
            logger.warning("The stored prediction %s is damaged; the task is predicted again.", path)
            with contextlib.suppress(OSError):
                path.unlink()
        return found

    def put(self, key: str, signs: Sequence[str], item: Item) -> None:
        """Keep an item with the signs of its images; nothing is raised if that fails."""
        body = json.dumps([list(signs), item]).encode()
        data = _hash(body).encode() + body
        if len(data) > self._most_bytes:
            return
        try:
            with self._lock:
                self._make_room(len(data))
                write_whole(self._path(key), data)
                self._bytes = (self._bytes or 0) + len(data)
        except OSError as error:
            self._tell(f"cannot be written ({error})")

    def drop(self, key: str) -> None:
        """Forget an item, if it is there."""
        with self._lock, contextlib.suppress(OSError):
            self._path(key).unlink()
            self._bytes = None  # counted anew with the next item

    def _make_room(self, size_bytes: int) -> None:
        """Delete what was unused for longest if the folder would outgrow its bound."""
        if self._bytes is not None and self._bytes + size_bytes <= self._most_bytes:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        delete_left_overs(self._folder)
        files = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX):
                    status = entry.stat()
                    files.append((status.st_mtime_ns, status.st_size, entry.path))
        total = sum(size for _, size, _ in files)
        if total + size_bytes > self._most_bytes:
            for _, size, path in sorted(files):
                if total + size_bytes <= self._most_bytes * LEAVES:
                    break
                Path(path).unlink(missing_ok=True)
                total -= size
        self._bytes = total

    def _tell(self, what: str) -> None:
        """Log once that the folder is of no use, because it would be said for each task."""
        if not self._told:
            self._told = True
            logger.warning("Predictions in %s %s. Tasks are predicted all the same.", self._folder, what)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{_SUFFIX}"


@dataclass(frozen=True)
class _Content:
    """The hash of the bytes that an address had last, their tag, and when they were other ones before."""

    content: str
    changed_s: float
    tag: str = ""

    @property
    def signs(self) -> str:
        """By what the image is known again: its hash, and behind a space its tag if it has one."""
        return f"{self.content} {self.tag}".rstrip()


class NotingFetcher:
    """A fetcher that remembers which bytes the last addresses had. Threads may share it."""

    def __init__(self, fetcher: FetchesImages) -> None:
        """Remember nothing yet."""
        self._fetcher = fetcher
        self._lock = threading.Lock()
        self._contents: OrderedDict[bytes, _Content] = OrderedDict()

    @property
    def limits(self) -> ImageSettings:
        """How large an image may be, and how long it may take."""
        return self._fetcher.limits

    @property
    def clock_s(self) -> Callable[[], float]:
        """The present moment in seconds."""
        return self._fetcher.clock_s

    def fetch(self, reference: str, *, task_id: int | None = None, within_s: float = math.inf) -> bytes:
        """Return the bytes of an image, and remember their hash.

        Raises:
            ImageSourceError: as the fetcher raises it.
        """
        if not isinstance(self._fetcher, KnowsUnchangedImages):
            data, tag = self._fetcher.fetch(reference, task_id=task_id, within_s=within_s), ""
        else:
            found = self._fetcher.fetch_unless("", reference, task_id=task_id, within_s=within_s)
            assert found is not None, "without a tag nothing can still be the one of it"
            data, tag = found.data, found.tag
        self._note(ImageAddress(reference, task_id).key, _hash(data), tag)
        return data

    def is_still(self, signs: str, address: ImageAddress, *, within_s: float) -> bool:
        """Return whether an image still has the bytes that it had with these signs. It is fetched only if need be.

        Raises:
            ImageSourceError: as the fetcher raises it.
        """
        content, _, tag = signs.partition(" ")
        if tag and isinstance(self._fetcher, KnowsUnchangedImages):
            found = self._fetcher.fetch_unless(tag, address.reference, task_id=address.task, within_s=within_s)
            if found is None:
                return True
            self._note(address.key, _hash(found.data), found.tag)
            return _hash(found.data) == content
        return _hash(self.fetch(address.reference, task_id=address.task, within_s=within_s)) == content

    def is_lasting(self, address: ImageAddress) -> bool:
        """Return whether an address means the same bytes for as long as it exists."""
        fetcher = self._fetcher
        return isinstance(fetcher, KnowsUnchangedImages) and fetcher.is_lasting(address.reference, task_id=address.task)

    def signs(self, address: ImageAddress, *, since_s: float) -> str | None:
        """Return the signs of an image; None if it was not fetched, or is another one since `since_s`."""
        with self._lock:
            found = self._contents.get(address.key)
        return found.signs if found is not None and found.changed_s < since_s else None

    def _note(self, key: bytes, content: str, tag: str) -> None:
        with self._lock:
            before = self._contents.pop(key, None)
            changed_s = -math.inf if before is None else before.changed_s
            if before is not None and before.content != content:
                changed_s = self.clock_s()
            self._contents[key] = _Content(content, changed_s, tag)
            if len(self._contents) > MOST_ADDRESSES:
                self._contents.popitem(last=False)


class PredictionStore:
    """The items on disk, and the fetcher that tells whether they still hold. Threads may share it."""

    def __init__(self, items: StoredItems, fetcher: NotingFetcher, *, recheck_s: float) -> None:
        """Keep items of images that come by a fetcher.

        Args:
            items: the folder.
            fetcher: what all images of predictions come by.
            recheck_s: for how long an image is believed by its address alone after it was fetched.
        """
        self._items, self._fetcher = items, fetcher
        self._at_once = threading.Semaphore(LOOK_UPS)
        self._rechecks = Rechecks(self._is_still, items.drop, every_s=recheck_s, clock_s=fetcher.clock_s)

    def stop(self) -> None:
        """Fetch nothing any more behind answers."""
        self._rechecks.stop()

    def get(self, images: Sequence[ImageAddress], version: str, *, until_s: float) -> Item | None:
        """Return the stored item of a task whose images are what they were; None if there is none.

        Raises:
            ImageSourceError: an image cannot be fetched until then.
        """
        key = _key(images, version)
        found = self._items.get(key) if images else None
        if found is None:
            return None
        signs, item = found
        made_of = [Belief(*each, key) for each in zip(images, signs, strict=True)]
        believed = [each for each in made_of if self._fetcher.is_lasting(each.address)]
        if not self._hold([each for each in made_of if each not in believed], until_s):
            return None
        for each in believed:
            self._rechecks.soon(each)
        return item

    def put(self, images: Sequence[ImageAddress], version: str, item: Item, *, asked_s: float) -> None:
        """Keep an item that was made of images that were fetched since `asked_s`."""
        signs = [self._fetcher.signs(address, since_s=asked_s) for address in images]
        known = [each for each in signs if each is not None]
        if known and len(known) == len(images):
            self._items.put(_key(images, version), known, item)

    def _hold(self, doubted: Sequence[Belief], until_s: float) -> bool:
        """Return whether images that may have been replaced have the bytes that they had; their servers are asked."""
        left_s = until_s - self._fetcher.clock_s()
        if not doubted:
            return True
        if not self._at_once.acquire(timeout=max(0.0, left_s)):
            return False
        try:
            return all(self._is_still(each, until_s=until_s) for each in doubted)
        finally:
            self._at_once.release()

    def _is_still(self, belief: Belief, *, until_s: float = math.inf) -> bool:
        within_s = until_s - self._fetcher.clock_s()
        return self._fetcher.is_still(belief.signs, belief.address, within_s=within_s)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _key(images: Sequence[ImageAddress], version: str) -> str:
    parts = [version, *([address.task, address.reference] for address in images)]
    return _hash(json.dumps(parts).encode())


def _read(data: bytes) -> tuple[list[str], Item] | None:
    """Return what `StoredItems.put` wrote; None if it is not whole."""
    checksum, body = data[:_DIGITS], data[_DIGITS:]
    if _hash(body).encode() != checksum:
        return None
    signs, item = json.loads(body)
    return signs, item
