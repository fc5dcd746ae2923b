"""Runs page reads side by side: earlier streams first, within parallelism and buffered bytes.

A `Lane` is one stream's place in the queue. Steps of the first lane may always run when nothing of it
waits to be written, so that a full buffer cannot stop the stream that empties it.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BYTES_PER_REQUEST = 16 * 1024 * 1024
"""What a page aims at, and what may wait to be written for each request that may be in flight."""

_ENOUGH = 2
"""Requests in flight while the writer is behind: more only get into each other's way, a fifth of the processor time."""


class Lane:
    """One stream's steps that could run now, and how much of it is under way or waiting."""

    def __init__(self, order: int) -> None:
        self.order = order
        self.steps: deque[Callable[[], None]] = deque()
        self.later: deque[Callable[[], None]] = deque()
        """Steps that wait until no other of the lane does."""
        self.running = 0
        self.buffered = 0


class Scheduler:
    """A few worker threads that take steps from lanes in their order."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._capacity = 2 * BYTES_PER_REQUEST
        self._changed = threading.Condition()
        self._lanes: list[Lane] = []
        self._threads: list[threading.Thread] = []
        self._buffered = 0
        self._running = 0
        self._stopped = False

    def open_lane(self, order: int) -> Lane:
        """Add a lane; a lower order goes first."""
        lane = Lane(order)
        with self._changed:
            self._lanes.append(lane)
            self._lanes.sort(key=lambda each: each.order)
        return lane

    def close_lane(self, lane: Lane) -> None:
        """Remove a lane; its waiting steps are forgotten."""
        with self._changed:
            lane.steps.clear()
            lane.later.clear()
            self._buffered -= lane.buffered
            lane.buffered = 0
            if lane in self._lanes:
                self._lanes.remove(lane)
            self._changed.notify_all()

    def submit(self, lane: Lane, step: Callable[[], None], *, later: bool = False) -> None:
        """Queue a step; a worker thread is started when all are busy and one more is allowed."""
        with self._changed:
            (lane.later if later else lane.steps).append(step)
            if len(self._threads) < self._workers:
                name = f"pages-{len(self._threads) + 1}"
                self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
                self._threads[-1].start()
            self._changed.notify()

    def hold(self, lane: Lane, size: int) -> None:
        """Say that `size` bytes of this lane wait to be written."""
        with self._changed:
            lane.buffered += size
            self._buffered += size

    def release(self, lane: Lane, size: int) -> None:
        """Say that `size` bytes of this lane have been written."""
        with self._changed:
            size = min(size, lane.buffered)
            lane.buffered -= size
            self._buffered -= size
            self._changed.notify_all()

    def stop(self) -> None:
        """Let no further step begin."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _work(self) -> None:
        while (taken := self._next()) is not None:
            lane, step = taken
            try:
                step()
            finally:
                with self._changed:
                    lane.running -= 1
                    self._running -= 1
                    self._changed.notify_all()

    def _next(self) -> tuple[Lane, Callable[[], None]] | None:
        with self._changed:
            while not self._stopped:
                lane = next(
                    (each for each in self._lanes if (each.steps or each.later) and self._admits(each)), None
                )
                if lane is not None:
                    lane.running += 1
                    self._running += 1
                    return lane, (lane.steps or lane.later).popleft()
                self._changed.wait()
            return None

    def _admits(self, lane: Lane) -> bool:
        if self._buffered >= BYTES_PER_REQUEST // 2 and self._running >= _ENOUGH:
            return False
        if lane is self._lanes[0]:
            return self._buffered < self._capacity or not (lane.running or lane.buffered)
        return self._buffered < self._capacity // 2
