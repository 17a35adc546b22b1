"""A path in a storage, which is used as a `pathlib.Path` is: as much of it as keeping files needs, by fsspec.

Nothing that a storage says is remembered, because another machine may change it. A storage that is away is asked again
for a while (`ovdiff.storage.patience`). An object store has no folders: a folder is there while a file is below it.

Tested by tests/ovdiff/storage/test_stored_path.py on a server that speaks S3.
"""

import io
import secrets
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote, unquote

from converters.files.redaction import without_secrets
from ovdiff.errors import MissingExtraError, StorageError
from ovdiff.extras import naming_the_extra
from ovdiff.storage.clients import advice, ask_once, options_of
from ovdiff.storage.patience import PATIENCE_S, patiently, reason
from ovdiff.storage.stored_file import BLOCK_BYTES, StoredFile

WHOLE_PUTS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "memory"}
"""Storages where a file that is written appears whole or not at all. Elsewhere it is written beside and moved."""

_VERSIONS = ("generation", "ETag", "etag", "md5Hash")
"""What storages call a file's version; Google has an ETag too, and conditions on generations alone."""

_T = TypeVar("_T")
_Entry = dict[str, Any]  # what fsspec says of a file or folder


@dataclass(frozen=True)
class StoredStatus:
    """What a storage says of a file.

    Attributes:
        st_size: its bytes; None where a web server does not say.
        st_mtime_ns: when it was written, in ns since 1970; 0 where the storage does not say.
        st_ino: a number that differs when the content differs: the CRC-32 of `version`.
        version: what the storage calls this content, such as an ETag; "" where it has no name for it.
    """

    st_size: int | None
    st_mtime_ns: int
    st_ino: int
    version: str


@dataclass(frozen=True, order=True)
class StoredPath:
    """A file or folder at an address. Threads may share it, and it may be pickled.

    Every method that asks the storage raises StorageError: it refuses, or is away for longer than is waited for. A
    file that is not there is Python's own FileNotFoundError.

    Attributes:
        address: the address, without a slash at its end.
        patience_s: for how many seconds a storage that is away is asked again.
    """

    address: str
    patience_s: float = PATIENCE_S

    # ---------------------------------------------------------------- names

    def __str__(self) -> str:
        """Return the address."""
        return self.address

    @property
    def _parts(self) -> tuple[str, str]:
        """The address of the file or folder, and the query behind it, which a web server alone knows.

        In an object store a question mark is part of a name. Paths above and below keep a query: that of a folder, as
        of an Azure container, gives access to its files.
        """
        if not self._is_web:
            return self.address, ""
        bare, mark, query = self.address.partition("?")
        return bare.rstrip("/") if mark else bare, mark + query

    def __truediv__(self, name: "str | PurePosixPath") -> "StoredPath":
        """Return the path of a name below this one; in a web address the name is quoted."""
        text = str(name).strip("/")
        return self._below(quote(text, errors="surrogatepass") if self._is_web else text)

    def _below(self, quoted: str) -> "StoredPath":
        bare, query = self._parts
        return StoredPath(f"{bare}/{quoted}{query}", self.patience_s)

    def _unquoted(self, text: str) -> str:
        return unquote(text) if self._is_web else text

    def joinpath(self, *names: str) -> "StoredPath":
        """Return the path of names below this one."""
        return self / "/".join(names)

    @property
    def shown(self) -> str:
        """The address for messages and logs: without a signature, which a query may hold."""
        return without_secrets(self.address)

    @property
    def protocol(self) -> str:
        """What precedes the colon, such as "s3"."""
        return self.address.partition("://")[0].lower()

    @property
    def _is_web(self) -> bool:
        """Whether the address is that of a web server: it may have a query, and its names are quoted."""
        return self.protocol in ("http", "https")

    @property
    def name(self) -> str:
        """The last part of the address, without a query and as the file is called: "a b.png", not "a%20b.png"."""
        return self._unquoted(self._parts[0].rpartition("/")[2])

    @property
    def stem(self) -> str:
        """The name without its last suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The last suffix of the name, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> "StoredPath":
        """The folder above."""
        bare, query = self._parts
        return StoredPath(f"{bare.rpartition('/')[0]}{query}", self.patience_s)

    def with_name(self, name: str) -> "StoredPath":
        """Return the path of another name in the same folder."""
        return self.parent / name

    def relative_to(self, folder: "StoredPath") -> PurePosixPath:
        """Return what follows a folder above.

        Raises:
            ValueError: the folder is none above.
        """
        bare, above = self._parts[0], folder._parts[0]
        if not bare.startswith(f"{above}/"):
            raise ValueError(f"{self.shown} is not below {folder.shown}")
        return PurePosixPath(self._unquoted(bare.removeprefix(f"{above}/")))

    def as_posix(self) -> str:
        """Return the address."""
        return self.address

    def expanduser(self) -> "StoredPath":
        """Return the path itself: an address has no home."""
        return self

    def resolve(self) -> "StoredPath":
        """Return the path itself: an address is always whole."""
        return self

    # ---------------------------------------------------------------- asking

    def require_library(self) -> None:
        """Check that the libraries for this kind of address are here. No storage is asked.

        Raises:
            StorageError: the address is of a kind that nobody knows here.
            MissingExtraError: fsspec, or the library of S3, is not installed.
        """
        try:
            self.fs_and_path()
        except (StorageError, MissingExtraError):
            raise
        except Exception as error:  # whatever the library of a storage says of an address that it does not like
            raise StorageError(f"{self.shown} cannot be used: {reason(error)}.") from error

    def fs_and_path(self) -> tuple[Any, str]:
        """Return the file system of fsspec, and the path by which it knows this one.

        fsspec keeps one file system for each kind of storage; it is made anew in a process that was forked.
        """
        with naming_the_extra("Keeping files at an address"):
            from fsspec import filesystem, get_filesystem_class

        # Not fsspec's `url_to_fs`: where a name holds "::" it takes what follows for another address.
        protocol, options = self.address.partition("://")[0], options_of(self.protocol)
        kind = get_filesystem_class(protocol)
        options = kind._get_kwargs_from_urls(self.address) | options
        fs = filesystem(protocol, use_listings_cache=False, **options)
        ask_once(fs, self.protocol)
        return fs, str(kind._strip_protocol(self.address))

    def asked(self, done: str, ask: Callable[[Any, str], _T]) -> _T:
        """Return what the storage answers, after asking it again while it is away.

        Args:
            done: what is asked for, for messages: "read".
            ask: asks a file system of fsspec once, with the path by which it knows this one.

        Raises:
            FileNotFoundError: there is no such file, or no such bucket.
            FileExistsError: there is such a file already.
            StorageError: the storage refuses, or is away for too long.
        """
        try:
            return patiently(lambda: ask(*self.fs_and_path()), f"{self.shown} cannot be {done}", self.patience_s)
        except (FileNotFoundError, FileExistsError, StorageError):
            raise
        except Exception as error:
            raise StorageError(
                f"{self.shown} cannot be {done}: {reason(error)}. {advice(self.protocol, error)}"
            ) from error

    # ---------------------------------------------------------------- reading

    def stat(self) -> StoredStatus:
        """Return the file's size, time and version. Raises FileNotFoundError for a folder too."""
        found = self.asked("looked at", lambda fs, path: fs.info(path))
        if found.get("type") == "directory":
            raise FileNotFoundError(f"{self.shown} is no file.")
        return status_of(found)

    def exists(self) -> bool:
        """Say whether there is such a file, or a file below such a folder."""
        return bool(self.asked("looked at", lambda fs, path: fs.exists(path)))

    def is_file(self) -> bool:
        """Say whether there is such a file."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Say whether there is a file below such a folder."""
        return bool(self.asked("looked at", lambda fs, path: fs.isdir(path)))

    def read_bytes(self) -> bytes:
        """Return the file's bytes."""
        return bytes(self.asked("read", lambda fs, path: fs.cat_file(path)))

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the file's text. Raises UnicodeDecodeError (a ValueError) if it is none."""
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "rb", buffering: int = -1) -> BinaryIO:
        """Return the file as a stream of bytes, which asks for blocks as they are read; nothing is written so.

        Args:
            mode: "rb".
            buffering: the bytes of a block; -1 is `stored_file.BLOCK_BYTES`.
        """
        if mode != "rb":
            raise StorageError(f"{self.shown} can be opened to read bytes, not by {mode!r}.")
        return io.BufferedReader(StoredFile(self), buffering if buffering > 0 else BLOCK_BYTES)

    def listed(self, *, deep: bool = False) -> dict["StoredPath", StoredStatus]:
        """Return the files of a folder, or also those of its subfolders, by one question for each thousand.

        Nothing if there is no such folder.
        """

        def ask(fs: Any, path: str) -> Iterable[_Entry]:
            found: Iterable[_Entry]
            found = fs.find(path, detail=True).values() if deep else fs.ls(path, detail=True)
            return found

        return {path: status_of(entry) for path, entry in self._entries(ask) if entry.get("type") != "directory"}

    def iterdir(self) -> Iterator["StoredPath"]:
        """Yield what a folder holds. Raises FileNotFoundError if there is no such folder."""
        entries = self.asked("listed", lambda fs, path: fs.ls(path, detail=True))
        yield from (path for path, _ in self._paths(entries))

    def glob(self, pattern: str) -> Iterator["StoredPath"]:
        """Yield what a folder holds by a pattern of one name; nothing if there is no such folder."""
        found = self._entries(lambda fs, path: fs.ls(path, detail=True))
        yield from (path for path, _ in found if fnmatchcase(path.name, pattern))

    def rglob(self, pattern: str) -> Iterator["StoredPath"]:
        """Yield the files below a folder whose names are of a pattern; nothing if there is no such folder."""
        yield from (path for path in self.listed(deep=True) if fnmatchcase(path.name, pattern))

    def _entries(self, ask: Callable[[Any, str], Iterable[_Entry]]) -> list[tuple["StoredPath", _Entry]]:
        try:
            return self._paths(self.asked("listed", ask))
        except FileNotFoundError:
            return []

    def _paths(self, entries: Iterable[_Entry]) -> list[tuple["StoredPath", _Entry]]:
        """Return what fsspec lists below this path with its paths, sorted; an object store may name the folder too."""
        own = self.fs_and_path()[1].rstrip("/")
        pairs = ((str(entry["name"]).rstrip("/"), entry) for entry in entries)
        below = ((name.removeprefix(own).lstrip("/"), entry) for name, entry in pairs if name.startswith(f"{own}/"))
        return sorted(((self._below(name), entry) for name, entry in below if name), key=lambda pair: pair[0])

    # ---------------------------------------------------------------- writing

    def write_bytes(self, data: bytes) -> None:
        """Write a file of these bytes, which appears whole or not at all, in the place of one that has the name.

        Where a storage does not promise that, the file is written under another name and moved.
        """
        if self.protocol in WHOLE_PUTS:
            self.asked("written", lambda fs, path: fs.pipe_file(path, data))
            return
        beside = self.with_name(f".{self.name[:50]}.{secrets.token_hex(8)}.partial")

        def ask(fs: Any, path: str) -> None:
            fs.makedirs(fs._parent(path), exist_ok=True)
            temporary = beside.fs_and_path()[1]
            fs.pipe_file(temporary, data)
            fs.mv(temporary, path)

        self.asked("written", ask)

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Write a file of this text, as `write_bytes` does."""
        self.write_bytes(text.encode(encoding))

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete a file. Raises FileNotFoundError unless ``missing_ok``; S3 does not say whether there was one."""
        try:
            self.asked("deleted", lambda fs, path: fs.rm_file(path))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: a folder is there as soon as a file is below it."""


def status_of(entry: _Entry) -> StoredStatus:
    """Return the status of a file from what fsspec says of it."""
    written = entry.get("LastModified") or entry.get("last_modified") or entry.get("mtime") or entry.get("created")
    version = str(next((entry[name] for name in _VERSIONS if entry.get(name)), ""))
    time_ns = 0
    if isinstance(written, datetime):
        time_ns = int(written.timestamp() * 1_000_000) * 1000
    elif isinstance(written, int | float):
        time_ns = int(written * 1e9)
    size = entry.get("size")
    return StoredStatus(None if size is None else int(size), time_ns, zlib.crc32(version.encode()), version)
