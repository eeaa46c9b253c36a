"""Memory that is freed and used again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from meshsync.runtime.allocation import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({times}):
        blocks = [b"x" * {size} for _ in range(4)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {is_kept}:
    keep_freed_memory()
faults()
print(faults())
"""
SIZE, TIMES = 1024 * 1024, 20
PAGES = TIMES * 4 * 256
"""Of four blocks of that size, which are all freed before the next four are made."""


def faults(*, is_kept: bool) -> int:
    """Return how many page faults they take in a program."""
    program = PROGRAM.format(size=SIZE, times=TIMES, is_kept=is_kept)
    # Variables fix what the C library else adjusts; Dask sets one in the process that starts its workers.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", program]
    return int(subprocess.run(command, capture_output=True, check=True, timeout=50, env=environ).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_block_that_is_freed_serves_the_next() -> None:
    """No page of it is had anew, as all are where nothing is asked for."""
    assert faults(is_kept=True) < PAGES // 100 < PAGES // 2 < faults(is_kept=False)
