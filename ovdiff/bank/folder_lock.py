"""A folder is locked while its files are changed together. Never imports torch.

Tested by tests/ovdiff/bank/test_files.py and tests/ovdiff/bank/test_lesson_store.py, with two processes.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder against other threads and processes that change it, after waiting for their locks."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # Some network file systems lock no folders. Each file is still whole.
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # This releases the lock.
