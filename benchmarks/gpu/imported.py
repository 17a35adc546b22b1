"""What the processes of all groups are forked from: their libraries, imported once.

No search for garbage walks through what was imported, a million objects: each stage ends with such a search. Tested by
tests/benchmarks/gpu/test_gpu.py.
"""

import gc

import benchmarks.gpu.groups

__all__ = ["benchmarks"]

gc.freeze()
