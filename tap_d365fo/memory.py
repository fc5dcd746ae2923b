"""Asks the C library to keep large blocks instead of giving each page back to the system.

A page of 16 MiB is allocated several times on its way out. glibc maps and unmaps such blocks one by one, and
the system zeroes them each time: a third of the processor time of a read, measured. Other C libraries are left
alone.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
_BLOCK = 64 * 1024 * 1024
_SETTINGS = (
    (_M_MMAP_THRESHOLD, 1 << 30),
    (_M_TRIM_THRESHOLD, 4 * _BLOCK),
    (_M_TOP_PAD, _BLOCK // 4),
    (_M_ARENA_MAX, 1),
)


def keep_large_blocks() -> bool:
    """Apply the settings; says whether this C library took them."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all(mallopt(name, value) == 1 for name, value in _SETTINGS)
