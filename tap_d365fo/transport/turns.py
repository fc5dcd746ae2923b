"""Whose large body is read now, where the processor and not the network holds a run up.

Threads that read large bodies side by side hand the interpreter's lock to each other at every TLS record of
16 KiB. Where the processor is busy all the time they gain nothing by it: a tenth of a run's processor time goes
into the handing over, measured, and memory into bodies that come no sooner. Then they take turns. Where the
processor waits, the network is what there is to share, and all read at once.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BUSY_SHARE = 0.5
"""Processor seconds of this process in a second: with more it is the processor that holds the run up.

Not nearer to one, because who takes turns leaves the processor idle at times."""
_WINDOW_SECONDS = 0.1


class Turns:
    """Turns at reading large bodies; safe to use from many threads."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        processor: Callable[[], float] = time.process_time,
    ) -> None:
        self._clock, self._processor = clock, processor
        self._turn, self._lock = threading.Lock(), threading.Lock()
        self._since = clock(), processor()
        self._busy = False

    @contextmanager
    def taken(self) -> Iterator[bool]:
        """Yield whether this is a turn; without one the body is read beside others.

        A turn is waited for as long as the processor is busy: where the one who has it is held up by the
        network, it soon is not.
        """
        is_held = self._turn.acquire(blocking=False) or self._waited()
        try:
            yield is_held
        finally:
            if is_held:
                self._turn.release()

    def _waited(self) -> bool:
        while self._is_busy():
            if self._turn.acquire(timeout=_WINDOW_SECONDS):
                return True
        return False

    def _is_busy(self) -> bool:
        now, used = self._clock(), self._processor()
        with self._lock:
            passed = now - self._since[0]
            if passed >= _WINDOW_SECONDS:
                self._busy = used - self._since[1] > _BUSY_SHARE * passed
                self._since = now, used
            return self._busy
