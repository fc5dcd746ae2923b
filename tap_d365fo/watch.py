"""A run as it can be watched: figures by stream, and who is told of them.

`Watch` counts, once a page and never once a row. What it counts is shown by a view (log lines here, the live
one in `live`) and written for a monitor (`openmetrics`). All of it goes to stderr or into a file: stdout
belongs to the messages.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from tap_d365fo import openmetrics
from tap_d365fo.transport.session import Attempt, Hold, Wait

if TYPE_CHECKING:
    from tap_d365fo.extraction.reading import Batch, Reading
    from tap_d365fo.extraction.sweep import Sweep
    from tap_d365fo.transport.session import Event, ODataSession, Traffic

logger = logging.getLogger("tap_d365fo")

QUIET_SECONDS = 30.0
"""How often a log hears of a stream that is still being read, and the metrics file is written."""
TICK_SECONDS = 1.0
"""How often is looked whether that time is over."""

State = Literal["waiting", "reading", "whole", "failed", "interrupted"]

_ENDINGS: Mapping[State, str] = {
    "whole": "read whole",
    "failed": "not read whole",
    "interrupted": "interrupted",
}


@dataclass(slots=True)
class StreamFigures:
    """What is known of one stream's read."""

    name: str
    method: str
    state: State = "waiting"
    began: float | None = None
    """When its first request was answered, which may be ahead of its turn."""
    turn: float = 0.0
    """When its first rows were asked for."""
    ended: float | None = None
    rows: int = 0
    deletes: int = 0
    pages: int = 0
    requests: int = 0
    bytes_on_wire: int = 0
    throttled_seconds: float = 0.0
    """For how long its requests, throttled, made all requests wait."""
    reading: Reading | Sweep | None = None

    @property
    def listed(self) -> int:
        """How many rows a sweep has compared so far; 0 where nothing is swept."""
        return getattr(self.reading, "listed", 0)

    @property
    def seen(self) -> int:
        """How many rows were gone through, whether they had to be delivered or not."""
        return max(self.listed, self.rows)

    @property
    def expected(self) -> int | None:
        """How many rows there are to go through, None where nobody told."""
        of = getattr(self.reading, "to_list" if self.listed else "expected_rows", None)
        return None if of is None else max(of, self.seen)

    @property
    def companies(self) -> tuple[int, int] | None:
        """Legal entities that were gone through to their end, of how many; None where it is read in one."""
        companies = self.reading.companies if self.reading else None
        # What ends the last one brings no page, so nobody looked again.
        return (companies[1], companies[1]) if companies and self.state == "whole" else companies

    def seconds(self, now: float) -> float:
        """Return how long it took, or has taken."""
        began = now if self.began is None else self.began
        return (now if self.ended is None else self.ended) - began

    def rows_per_second(self, now: float) -> float:
        """Return the mean rate of rows delivered."""
        seconds = self.seconds(now)
        return self.rows / seconds if seconds > 0 else 0.0

    def seconds_left(self, now: float) -> float | None:
        """Return how long it will take at the pace so far, None where nobody can say."""
        expected, seen = self.expected, self.seen
        if expected is None or not seen or self.state != "reading":
            return None
        return (expected - seen) * (now - self.turn) / seen


class View(Protocol):
    """Shows figures while they grow."""

    def open(self, watch: Watch) -> None:
        """Begin to show."""
        ...

    def ended(self, watch: Watch, stream: StreamFigures) -> None:
        """Take note that a stream's read ended, one way or another."""
        ...

    def tick(self, watch: Watch) -> None:
        """Take note that time goes by."""
        ...

    def close(self, watch: Watch) -> None:
        """Show what came out."""
        ...


@dataclass
class Watch:
    """Counts what a run does; the transport's threads and the run's own may tell it at once."""

    view: View
    session: ODataSession
    metrics_file: str | None = None
    now: Callable[[], float] = time.time
    """The time of day in seconds since 1970, for the monitor."""
    streams: dict[str, StreamFigures] = field(default_factory=dict)
    is_over: bool = False

    def __post_init__(self) -> None:
        self.clock: Callable[[], float] = self.session.clock.monotonic
        self.started = self._written = self.clock()
        self._lock = threading.Lock()
        self._cannot_write = False

    @contextmanager
    def over(self, methods: Callable[[], Mapping[str, str]]) -> Iterator[None]:
        """Watch a run; `methods` are its streams, in their order, each with its method."""
        self.session.on_event = self._met
        self.streams = {name: StreamFigures(name, method) for name, method in methods().items()}
        stop = threading.Event()
        ticking = threading.Thread(target=self._keep_ticking, args=(stop,), name="watch", daemon=True)
        self.view.open(self)
        self._write_metrics()
        ticking.start()
        try:
            yield
        finally:
            stop.set()
            ticking.join()
            self._close()

    def _close(self) -> None:
        for each in self.streams.values():
            if each.state == "reading":
                self._end(each.name, "interrupted")
        self.is_over = True
        self.view.close(self)
        self._write_metrics()

    def never_began(self) -> None:
        """Note that the run ended before there were streams: a monitor must not take the last run for it."""
        self.is_over = True
        self._write_metrics()

    # -- what it is told --------------------------------------------------------------------------------

    def began(self, name: str, reading: Reading | Sweep) -> None:
        """Note that a stream's turn has come."""
        stream = self.streams.get(name)
        if stream is not None:
            stream.reading, stream.turn, stream.state = reading, self.clock(), "reading"
            stream.began = stream.turn if stream.began is None else stream.began

    def wrote(self, name: str, batch: Batch) -> None:
        """Note a batch that was written."""
        stream = self.streams.get(name)
        if stream is None:
            return
        stream.pages += 1
        if batch.deleted:
            stream.deletes += len(batch.block)
        else:
            stream.rows += len(batch.block)

    def ended(self, name: str) -> None:
        """Note that a stream was read whole."""
        self._end(name, "whole")

    def failed(self, name: str) -> None:
        """Note that a stream was not read whole."""
        self._end(name, "failed")

    def _end(self, name: str, state: State) -> None:
        stream = self.streams.get(name)
        if stream is not None:
            stream.state, stream.ended = state, self.clock()
            self.view.ended(self, stream)

    def _met(self, event: Event) -> None:
        """Count what a request did for the stream that it was for; the session's threads call this."""
        stream = None if isinstance(event, Wait) else self.streams.get(event.entity_set)
        if stream is None:
            return
        with self._lock:
            if isinstance(event, Hold):
                stream.throttled_seconds += event.seconds
            elif isinstance(event, Attempt):
                stream.began = self.clock() - event.seconds if stream.began is None else stream.began
                stream.requests += 1
                stream.bytes_on_wire += event.bytes_on_wire

    # -- while it goes on -------------------------------------------------------------------------------

    def _keep_ticking(self, stop: threading.Event) -> None:
        while not stop.wait(TICK_SECONDS):
            self.tick()

    def tick(self) -> None:
        """Do what is due."""
        self.view.tick(self)
        if self.clock() - self._written >= QUIET_SECONDS:
            self._write_metrics()

    def _write_metrics(self) -> None:
        if self.metrics_file is None:
            return
        self._written = self.clock()
        try:
            openmetrics.write(self.metrics_file, openmetrics.text_of(self))
        except (OSError, ValueError) as exc:
            # Figures are a courtesy, rows are not: the run goes on.
            if not self._cannot_write:
                logger.warning("The metrics file %s cannot be written: %s", self.metrics_file, exc)
            self._cannot_write = True

    # -- the run as a whole -----------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """How long the run has taken."""
        return self.clock() - self.started

    @property
    def traffic(self) -> Traffic:
        """What the session did in all."""
        return self.session.traffic

    @property
    def is_whole(self) -> bool:
        """Whether the run is over and read every stream whole."""
        return self.is_over and bool(self.streams) and self.states["whole"] == len(self.streams)

    @property
    def throttled_seconds(self) -> float:
        """For how long F&O made all requests wait."""
        return self.session.pace.waited_seconds

    @property
    def states(self) -> Counter[State]:
        """How many streams are in which state."""
        return Counter(each.state for each in self.streams.values())

    @property
    def wait(self) -> str | None:
        """Why no request may start right now, and for how long; None while they may."""
        pace = self.session.pace
        left, reason = pace.seconds_left, pace.reason
        return f"waiting {duration(left)} more. {reason}" if left > 0 and reason else None

    @property
    def outcome(self) -> str:
        """What came of the run, or has come of it so far, in one sentence."""
        rows = sum(each.rows for each in self.streams.values())
        deletes = sum(each.deletes for each in self.streams.values())
        gone = f", {deletes:,} deletes" if deletes else ""
        waited = f", of which {duration(self.throttled_seconds)} waiting for F&O"
        return (
            f"{self.states['whole']} of {len(self.streams)} streams read whole: {rows:,} rows{gone} in "
            f"{duration(self.seconds)}{waited if self.throttled_seconds else ''}."
        )


class LogView:
    """One line for each stream when it ends, one for the run, and one in 30 seconds in between."""

    def __init__(self) -> None:
        self._told = 0.0

    def open(self, watch: Watch) -> None:
        """Begin: nothing is to be said yet."""
        self._told = watch.clock()

    def ended(self, watch: Watch, stream: StreamFigures) -> None:
        """Say how a stream ended."""
        deletes = f", {stream.deletes:,} deletes" if stream.deletes else ""
        now = watch.clock()
        logger.info(
            "%s: %s: %s rows%s in %s, %.0f rows/s (%s).",
            stream.name,
            _ENDINGS[stream.state],
            f"{stream.rows:,}",
            deletes,
            duration(stream.seconds(now)),
            stream.rows_per_second(now),
            stream.method,
        )

    def tick(self, watch: Watch) -> None:
        """Say how far the run is, where nothing of that was said for a while."""
        now = watch.clock()
        if now - self._told < QUIET_SECONDS:
            return
        self._told = now
        reading = [each for each in watch.streams.values() if each.state == "reading"]
        parts = [f"{each.name}: {', '.join(_progress(each, now))}" for each in reading]
        done = len(watch.streams) - len(reading) - watch.states["waiting"]
        logger.info("%s.", "; ".join([*parts, f"{done} of {len(watch.streams)} streams done"]))
        if watch.wait:
            logger.info("%s", watch.wait)

    def close(self, watch: Watch) -> None:
        """Say what came out in all."""
        logger.info("%s", watch.outcome)


def _progress(stream: StreamFigures, now: float) -> Iterator[str]:
    of = f" of {stream.expected:,}" if stream.expected else ""
    if stream.listed:
        yield f"{stream.listed:,}{of} rows compared"
    yield f"{stream.rows:,}{'' if stream.listed else of} rows"
    yield f"{stream.rows_per_second(now):,.0f} rows/s"
    yield f"{stream.pages:,} pages"
    if stream.companies:
        yield "{} of {} companies".format(*stream.companies)
    left = stream.seconds_left(now)
    if left is not None:
        yield f"about {duration(left)} left"


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {left:02d} s" if minutes else f"{left} s"
