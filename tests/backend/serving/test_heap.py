import logging
import platform
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from backend.serving.heap import LARGE_BYTES, freed_memory_given_back
from tests.fakes.waiting import eventually

# A large block that is freed raises glibc's limit, so the blocks after it come from the heap; there a small block that
# is allocated behind each of them keeps the heap from shrinking when they are freed.
PROGRAM = """
import contextlib, ctypes, sys, time
from pathlib import Path
from backend.serving.heap import freed_memory_given_back
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
told, size, wait_s = sys.argv[1] == "told", int(sys.argv[2]), float(sys.argv[3])
with freed_memory_given_back(every_s=0.05) if told else contextlib.nullcontext():
    libc.free(libc.malloc(30 << 20))
    before = resident()
    blocks = []
    for _ in range((80 << 20) // size):
        large = libc.malloc(size)
        ctypes.memset(large, 1, size)
        blocks.append((large, libc.malloc(100_000)))
    for large, _ in blocks:
        libc.free(large)
    time.sleep(wait_s)
    print((resident() - before) / 2**20)
"""


def kept_mib(told: str, size_mib: int, wait_s: float = 0.0) -> float:
    words = [sys.executable, "-c", PROGRAM, told, str(size_mib << 20), str(wait_s)]
    return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed blocks so")
@pytest.mark.parametrize(("size_mib", "wait_s"), [(10, 0.0), (2, 0.5)], ids=["large blocks at once", "others later"])
def test_freed_blocks_go_back_to_the_system(size_mib: int, wait_s: float) -> None:
    assert kept_mib("told", size_mib, wait_s) < 12
    assert kept_mib("not told", size_mib, wait_s) > 60


@dataclass
class Library:
    """A C library that says what it was told."""

    options: list[tuple[int, int]] = field(default_factory=list)
    trims: int = 0

    def mallopt(self, option: int, value: int) -> int:
        self.options.append((option, value))
        return 1

    def malloc_trim(self, _pad: int) -> int:
        self.trims += 1
        return 1


def test_it_looks_again_and_again_until_the_block_ends() -> None:
    library: Any = Library()
    before = threading.active_count()
    with freed_memory_given_back(library, every_s=0.01):
        assert eventually(lambda: library.trims >= 3)
    assert threading.active_count() == before
    assert library.options == [(-3, LARGE_BYTES)]


def test_a_c_library_without_mallopt_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    other: Any = object()
    with caplog.at_level(logging.INFO), freed_memory_given_back(other):
        assert "has no mallopt" in caplog.text
