"""What the C library keeps of memory that nobody uses any more.

glibc takes large blocks straight from the kernel and gives them back when they are freed, but each time it raises the
size from which a block counts as large, up to 32 MiB. Then arrays of images and features come from the heaps of the
threads, which keep what lies between blocks still in use: 400 MiB after 60 predictions (benchmarks/service_memory.py).
"""

from __future__ import annotations

import ctypes
import logging

logger = logging.getLogger(__name__)

LARGE_BYTES = 2**20  # far below the arrays of an image, far above what is allocated by the thousand
_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


def give_back_large_blocks(library: ctypes.CDLL | None = None) -> bool:
    """Have freed blocks of a MiB and more go back to the system; return whether the C library was told.

    Only glibc can be told so. Call it once, before the first large image.

    Args:
        library: the C library (None: that of this process).
    """
    mallopt = getattr(ctypes.CDLL(None) if library is None else library, "mallopt", None)
    if mallopt is None:
        logger.info("This C library has no mallopt: more memory may be kept than is in use.")
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))
