"""One gate for all requests to an environment: how many may be in flight, and from when the next may start.

F&O judges a service user as a whole and makes the wait longer for those who go on asking (facts section
6), so a `Retry-After` that one request met holds all others too, those that already queue included.
"""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tap_d365fo.errors import Interrupted
from tap_d365fo.transport.clock import Clock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

SUCCESSES_TO_GROW = 20
"""Good answers after which one more request may be in flight."""


class HeldTooLong(Exception):
    """F&O asked all requests to stay away for longer than one of them may wait."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"{seconds:.0f} s")


class Pace:
    """How many and how soon, shared by every thread."""

    def __init__(self, max_parallel: int, clock: Clock | None = None) -> None:
        self.max_parallel = max_parallel
        self.allowed = max_parallel
        self.waited_seconds = 0.0
        self.reason: str | None = None
        """Why requests are held right now, None when they are not."""
        self._clock = clock or SystemClock()
        self._changed = threading.Condition()
        self._in_flight = 0
        self._open_at = 0.0
        self._successes = 0
        self._halved_at = -1.0
        self._stopped = False

    @contextmanager
    def slot(self, *, until: float = math.inf) -> Iterator[float]:
        """Hold a place in flight; yields the moment at which it was given.

        Raises HeldTooLong where no request may start before `until`, and Interrupted once stopped.
        """
        self._enter(until)
        began = self._clock.monotonic()
        try:
            yield began
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def _enter(self, until: float) -> None:
        with self._changed:
            while True:
                if self._stopped:
                    raise Interrupted("Stopped while waiting for a place in the queue to F&O.")
                left = self._open_at - self._clock.monotonic()
                if left > 0 and self._open_at > until:
                    raise HeldTooLong(left)
                if left > 0:
                    self._clock.wait(self._changed, left)
                elif self._in_flight >= self.allowed:
                    self._clock.wait(self._changed, None)
                else:
                    self.reason = None
                    self._in_flight += 1
                    return

    def hold(self, seconds: float, *, reason: str, asked_at: float) -> float:
        """Let no request start for so long; `asked_at` is when the request that was refused had started.

        Returns by how many seconds this made the wait longer.

        Parallelism is halved once for each round of refusals: those of requests that had started before
        the last halving were refused for the same reason.
        """
        with self._changed:
            now = self._clock.monotonic()
            until = now + max(seconds, 0.0)
            longer = max(until - max(self._open_at, now), 0.0)
            if until > self._open_at:
                self.waited_seconds += longer
                self._open_at = until
                self.reason = reason
            if asked_at > self._halved_at:
                self.allowed = max(1, self.allowed // 2)
                self._halved_at = now
                self._successes = 0
            return longer

    @property
    def seconds_left(self) -> float:
        """For how much longer no request may start."""
        return max(self._open_at - self._clock.monotonic(), 0.0)

    def succeeded(self) -> None:
        """Note a good answer; parallelism grows back slowly."""
        with self._changed:
            self._successes += 1
            if self._successes >= SUCCESSES_TO_GROW and self.allowed < self.max_parallel:
                self.allowed += 1
                self._successes = 0
                self._changed.notify()

    def sleep(self, seconds: float) -> None:
        """Wait without holding others back; raises Interrupted once stopped."""
        with self._changed:
            until = self._clock.monotonic() + seconds
            while (left := until - self._clock.monotonic()) > 0:
                if self._stopped:
                    raise Interrupted("Stopped while waiting to ask F&O again.")
                self._clock.wait(self._changed, left)

    def stop(self) -> None:
        """Let all waiting end now, and no request begin."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped
