"""How the server behaves, and what it counted: both can be asked and set while it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a request costs, in seconds, and how many are served at once."""

    page_seconds: float = 0.0
    """Every request under /data but $metadata."""
    row_seconds: float = 0.0
    skipped_row_seconds: float = 0.0
    """For each row that `$skip` makes the server pass by."""
    at_once: int = 0
    """Requests served at a time; 0 for any number."""
    refuses: bool = False
    """Whether requests beyond `at_once` get a 429; otherwise they wait for their turn."""
    gzip: bool = False
    largest_page: int = 10_000


@dataclass(slots=True)
class Counted:
    """Traffic under /data since the last reset."""

    requests: int = 0
    refused: int = 0
    rows: int = 0
    bytes: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    page_ends: list[float] = field(default_factory=list)
    """When each page of rows was ready, by the server's clock."""


class Meter:
    """Lets requests in, makes them wait, and counts them."""

    def __init__(self) -> None:
        self.behaviour = Behaviour()
        self.counted = Counted()
        self._changed = threading.Condition()

    def set(self, values: dict[str, Any]) -> None:
        """Change some of the behaviour."""
        self.behaviour = replace(self.behaviour, **values)

    def reset(self) -> None:
        """Count from zero again."""
        with self._changed:
            self.counted = Counted(in_flight=self.counted.in_flight)

    def report(self) -> dict[str, Any]:
        """Return what was counted, and the processor time of this process."""
        return {**asdict(self.counted), "cpu_seconds": time.process_time()}

    @contextmanager
    def admitted(self) -> Iterator[bool]:
        """Let a request in when its turn comes; yields False where it is to be refused."""
        if not self._enter():
            yield False
            return
        try:
            yield True
        finally:
            with self._changed:
                self.counted.in_flight -= 1
                self._changed.notify()

    def _enter(self) -> bool:
        limit = self.behaviour.at_once
        with self._changed:
            self.counted.requests += 1
            while limit and self.counted.in_flight >= limit:
                if self.behaviour.refuses:
                    self.counted.refused += 1
                    return False
                self._changed.wait()
            self.counted.in_flight += 1
            self.counted.most_in_flight = max(self.counted.most_in_flight, self.counted.in_flight)
            return True

    def take_time(self, *, rows: int = 0, skipped: int = 0) -> None:
        """Wait as long as an answer costs."""
        costs = self.behaviour
        seconds = costs.page_seconds + rows * costs.row_seconds + skipped * costs.skipped_row_seconds
        if seconds > 0:
            time.sleep(seconds)

    def sent(self, *, size: int, rows: int | None = None) -> None:
        """Count an answer, and the rows of a page."""
        with self._changed:
            self.counted.bytes += size
            if rows is not None:
                self.counted.rows += rows
                self.counted.page_ends.append(time.monotonic())
