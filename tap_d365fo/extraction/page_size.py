"""How many rows to ask for: what a page of about 16 MiB holds, less after a time-out, never above the limit."""

from __future__ import annotations

import threading

from tap_d365fo.extraction.scheduler import BYTES_PER_REQUEST

_BYTES_PER_CELL = 28
"""About what a cell takes, before a first page has told how wide a row is."""


class PageSize:
    """The page size of one stream, shared by its chains."""

    def __init__(self, limit: int, *, columns: int, page_bytes: int = BYTES_PER_REQUEST) -> None:
        self.limit = limit
        self._page_bytes = page_bytes
        self._lock = threading.Lock()
        self._ceiling = limit
        self._largest = 0
        self._rows = max(1, min(limit, page_bytes // (_BYTES_PER_CELL * max(columns, 1))))

    @property
    def rows(self) -> int:
        """The rows to ask for now."""
        return self._rows

    @property
    def expected(self) -> int:
        """The rows that a page may hold: servers may send more than they were asked for."""
        return max(self._rows, self._largest)

    def learn(self, *, rows: int, size: int) -> None:
        """Take a page's width into account, and grow back a little after a shrink."""
        if not rows:
            return
        with self._lock:
            self._largest = max(self._largest, rows)
            fitting = max(1, self._page_bytes * rows // max(size, 1))
            self._ceiling = min(self.limit, self._ceiling + max(1, self._ceiling // 4))
            self._rows = max(1, min(fitting, self._ceiling))

    def shrink(self) -> None:
        """Halve after a time-out or a gateway's 502/504."""
        with self._lock:
            self._rows = self._ceiling = max(1, self._rows // 2)
