"""The tap in process, with a clock that runs many times faster than the machine's."""

from __future__ import annotations

import io
import logging
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from datetime import datetime, timedelta, timezone
from typing import Any

from singer import Outcome

from tap_d365fo.errors import D365FOError
from tap_d365fo.extraction.extractor import Extractor
from tap_d365fo.tap import TapD365FO

TIMES = 50.0
"""How many seconds of the tap's clock pass in one of the machine's."""


class FastClock:
    """A `Clock` on which waits of minutes take seconds; sockets' time-outs shrink with it."""

    def __init__(self, times: float = TIMES) -> None:
        self.times = times
        self._began = time.monotonic()
        self._epoch = datetime.now(timezone.utc)

    def monotonic(self) -> float:
        return (time.monotonic() - self._began) * self.times

    def now(self) -> datetime:
        return self._epoch + timedelta(seconds=self.monotonic())

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        condition.wait(None if seconds is None else seconds / self.times)

    def timeout(self, seconds: float) -> float:
        return seconds / self.times


class FastTap(TapD365FO):
    """The tap on a fast clock, its jitter seeded."""

    clock: FastClock
    seed = 0

    def connect(self) -> Extractor:
        rng = random.Random(self.seed)
        return Extractor(self.settings, started_ms=self.initialized_at, clock=self.clock, rng=rng)


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def listening() -> Iterator[list[str]]:
    """Keep every log line of every library, debug included."""
    root, listener = logging.getLogger(), _Listener()
    level = root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    try:
        yield listener.lines
    finally:
        root.removeHandler(listener)
        root.setLevel(level)


@contextmanager
def trusting(ca_file: str) -> Iterator[None]:
    """Trust a sandbox as users trust a corporate CA."""
    before = os.environ.get("REQUESTS_CA_BUNDLE")
    os.environ["REQUESTS_CA_BUNDLE"] = ca_file
    try:
        yield
    finally:
        if before is None:
            del os.environ["REQUESTS_CA_BUNDLE"]
        else:
            os.environ["REQUESTS_CA_BUNDLE"] = before


def fast_sync(
    config: Mapping[str, Any],
    catalog: dict[str, Any] | None = None,
    state: dict[str, Any] | None = None,
    *,
    clock: FastClock,
    seed: int = 0,
) -> Outcome:
    """Run the tap once; an error that is not one of ours goes through."""
    tap_class = type("FastTap", (FastTap,), {"clock": clock, "seed": seed})
    out = io.StringIO()
    try:
        with redirect_stdout(out):
            tap_class(config=dict(config), catalog=catalog, state=state).sync_all()
    except (D365FOError, SystemExit) as exc:
        return Outcome(out.getvalue(), exc)
    return Outcome(out.getvalue())


def fast_discover(config: Mapping[str, Any], *, clock: FastClock) -> dict[str, Any]:
    """Return the catalog that the tap would write."""
    tap_class = type("FastTap", (FastTap,), {"clock": clock})
    catalog: dict[str, Any] = tap_class(config=dict(config), setup_mapper=False).catalog_dict
    return catalog
