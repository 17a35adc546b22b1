"""The bytes of a stored file as a stream: a block at a time, from any offset, of one and the same content.

A block that does not arrive, because the storage is away or the connection was cut, is asked for again, as
`ovdiff.storage.patience` says, and what was read before it stays read. After each block the storage is asked what it
holds: a file that somebody replaced meanwhile ends the stream, so that nobody reads half of each.

Of a web server that does not say how many bytes there are, or gives no parts of files, the whole file is asked for
once, and read from a temporary file that ends with the stream.

Tested by tests/ovdiff/storage/test_stored_file.py on a server that speaks S3.
"""

import io
import tempfile
from collections.abc import Callable
from typing import IO, Any, Protocol, TypeVar

from ovdiff.errors import StorageError

BLOCK_BYTES = 1 << 22
"""What is asked for at once: large enough that two questions a block cost little, small enough to be held."""

_T = TypeVar("_T")


class Stored(Protocol):
    """What is read: as much of `ovdiff.storage.stored_path.StoredPath` as that needs."""

    @property
    def shown(self) -> str:
        """The address for messages."""
        ...

    def stat(self) -> Any:
        """Return the file's status, which differs when its content does; its bytes, or None, are `st_size`."""
        ...

    def asked(self, done: str, ask: Callable[[Any, str], _T]) -> _T:
        """Return what the storage answers, after asking it again while it is away."""
        ...


class StoredFile(io.RawIOBase):
    """A stored file that is read; `io.BufferedReader` makes blocks of what is asked for. One thread uses it."""

    def __init__(self, path: Stored) -> None:
        """Ask what the storage holds.

        Raises:
            FileNotFoundError: there is no such file.
            StorageError: the storage refuses, or is away for too long.
        """
        self._path, self._at = path, 0
        self._status = path.stat()
        self._copy: IO[bytes] | None = None
        self._size: int = self._copied() if self._status.st_size is None else self._status.st_size

    def close(self) -> None:
        """Delete the temporary file, if there is one."""
        if self._copy is not None:
            self._copy.close()
        super().close()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset, which the storage is not asked for yet, and return it.

        Raises:
            ValueError: the offset precedes the file, or `whence` is none of `io`'s three.
        """
        origins = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}
        if whence not in origins or origins[whence] + offset < 0:
            raise ValueError(f"{self._path.shown} has no offset {offset} (whence {whence}).")
        self._at = origins[whence] + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes, by one question, and return their number: 0 at the end of the file.

        Raises:
            StorageError: the file is another one by now, or the storage refuses or is away for too long.
        """
        count = min(len(buffer), self._size - self._at)
        if count <= 0:
            return 0
        buffer[:count] = self._block(self._at, self._at + count)
        self._at += count
        return count

    def _block(self, start: int, end: int) -> bytes:
        if self._copy is None:
            data = self._asked(start, end)
            if len(data) == end - start:
                return data
            if len(data) != self._size:
                raise StorageError(
                    f"{self._path.shown} cannot be read: of {end - start} bytes the storage gave {len(data)}."
                )
            self._copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this stream
            self._copy.write(data)
        self._copy.seek(start)
        return self._copy.read(end - start)

    def _copied(self) -> int:
        """Copy the whole file, and return the number of its bytes."""
        copy = self._copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this stream

        def ask(fs: Any, at: str) -> None:
            copy.seek(0)
            copy.truncate()
            fs.get_file(at, copy)

        try:
            self._path.asked("read", ask)
            self._require_same()
        except BaseException:
            self.close()
            raise
        return copy.tell()

    def _asked(self, start: int, end: int) -> bytes:
        try:
            data = self._path.asked("read", lambda fs, at: bytes(fs.cat_file(at, start=start, end=end)))
        except FileNotFoundError:
            data = b""
        except StorageError as error:
            if error.is_away:
                raise
            self._require_same()  # A range that the file no longer has is refused.
            raise
        self._require_same()
        return data

    def _require_same(self) -> None:
        try:
            is_same = self._path.stat() == self._status
        except FileNotFoundError:
            is_same = False
        if not is_same:
            raise StorageError(f"{self._path.shown} was replaced or deleted while it was read. Do the same again.")
