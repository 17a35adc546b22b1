import logging
import platform
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from backend.serving.heap import LARGE_BYTES, give_back_large_blocks

# A large array that is freed raises glibc's limit, so the arrays after it come from the heap; there, a small block that
# is allocated behind each of them keeps the heap from shrinking when they are freed.
PROGRAM = """
import ctypes, sys
from pathlib import Path
from backend.serving.heap import give_back_large_blocks
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
if sys.argv[1] == "told":
    assert give_back_large_blocks()
libc.free(libc.malloc(30 << 20))
before = resident()
blocks = []
for _ in range(10):
    large = libc.malloc(8 << 20)
    ctypes.memset(large, 1, 8 << 20)
    blocks.append((large, libc.malloc(100_000)))
for large, _ in blocks:
    libc.free(large)
print(resident() - before)
"""


def kept_mib(told: str) -> float:
    ran = subprocess.run([sys.executable, "-c", PROGRAM, told], capture_output=True, text=True, check=True)
    return int(re.findall(r"-?\d+", ran.stdout)[-1]) / 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed blocks so")
def test_freed_blocks_go_back_to_the_system() -> None:
    assert kept_mib("told") < 8
    assert kept_mib("not told") > 60


def test_a_c_library_without_mallopt_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    other: Any = SimpleNamespace()
    with caplog.at_level(logging.INFO):
        assert not give_back_large_blocks(other)
    assert "has no mallopt" in caplog.text


def test_it_is_told_the_size() -> None:
    told: list[tuple[int, int]] = []
    library: Any = SimpleNamespace(mallopt=lambda *what: told.append(what) or 1)
    assert give_back_large_blocks(library)
    assert told == [(-3, LARGE_BYTES)]
