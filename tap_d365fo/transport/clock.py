"""Time as an argument: the system's for production, any other for tests, so that no test sleeps."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone
from typing import Protocol


class Clock(Protocol):
    """What the transport needs of time."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...

    def now(self) -> datetime:
        """Return the wall clock, aware, in UTC."""
        ...

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait on a held condition until it is notified or the seconds have passed."""
        ...

    def timeout(self, seconds: float) -> float:
        """Return a time-out for sockets, which know the machine's time only."""
        ...


class SystemClock:
    """The clock of this machine."""

    def monotonic(self) -> float:
        """Return seconds on the machine's monotonic clock."""
        return time.monotonic()

    def now(self) -> datetime:
        """Return the machine's wall clock."""
        return datetime.now(timezone.utc)

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait really."""
        condition.wait(seconds)

    def timeout(self, seconds: float) -> float:
        """Return the same seconds: this clock is the machine's."""
        return seconds
