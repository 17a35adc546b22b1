"""A lock on a folder, which threads and processes take one after another. Needs the standard library alone.

Tested by tests/ovdiff/bank/test_files.py and tests/ovdiff/bank/test_lesson_store.py, with two processes.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Lock a folder against other threads and processes that lock it, after waiting for their locks.

    The lock ends with the block, and with the process if that is killed. Some network file systems lock no folders;
    there the block runs without a lock.

    Raises:
        BlockingIOError: without ``wait``, another one has locked the folder.
        OSError: the folder is not there, or cannot be opened.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            pass
        yield
    finally:
        os.close(handle)  # This releases the lock.
