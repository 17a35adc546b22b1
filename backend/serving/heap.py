"""What the C library keeps of memory that nobody uses any more.

glibc takes large blocks straight from the kernel and gives them back when they are freed, but each time it raises the
size from which a block counts as large, up to 32 MiB. Then the arrays of images come from the heaps of the threads,
which keep all that lies between blocks still in use: 400 MiB after 60 predictions. So the size is held where it costs
no time (from 1 MiB on, predictions took 17 % longer), and what smaller blocks leave behind is given back now and then.
"""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

LARGE_BYTES = 8 * 2**20
TRIM_EVERY_S = 5.0
_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


@contextmanager
def freed_memory_given_back(library: ctypes.CDLL | None = None, every_s: float = TRIM_EVERY_S) -> Iterator[None]:
    """Have freed memory go back to the system: large blocks at once, now and for ever, others while the block runs.

    Only glibc can be told so. Enter it before the first large image.

    Args:
        library: the C library (None: that of this process).
        every_s: the time between two looks for memory that can go back; a look takes milliseconds.
    """
    library = ctypes.CDLL(None) if library is None else library
    if not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        logger.info("This C library has no mallopt: more memory may be kept than is in use.")
        yield
        return
    library.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
    over = threading.Event()

    def trim() -> None:
        while not over.wait(every_s):
            library.malloc_trim(0)

    trimming = threading.Thread(target=trim, name="ovdiff-heap", daemon=True)
    trimming.start()
    try:
        yield
    finally:
        over.set()
        trimming.join()
