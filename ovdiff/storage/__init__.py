"""Where a bank may be kept: a folder of this machine, or a folder of a storage at an address such as s3://bucket/bank.

::

    place("ovdiff-data/bank")    a Path, and files are written as ever: temporary name, sync, rename
    place("s3://bucket/bank")    a StoredPath, which is used as a Path is, by fsspec

`addresses` tells the two apart, `stored_path` asks a storage, `patience` asks it again while it is away, `stored_file`
reads a file in blocks, `files` writes whole files at either place, `sealed` writes whole folders, `stamps` says what
has changed, and `leases` keep two machines from doing the same work. The libraries of storages are imported when an
address is first asked.
"""

from ovdiff.storage.addresses import is_stored, place

__all__ = ["is_stored", "place"]
