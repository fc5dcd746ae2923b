"""The Airbyte door over files of its own, and a clock on which waits take no time worth mentioning."""

from __future__ import annotations

import random
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest
from door import Door

from tap_d365fo.extraction.extractor import Extractor
from tap_d365fo.tap import TapD365FO


class HastyClock:
    """Passes a hundred times as fast as the machine's."""

    def __init__(self) -> None:
        self._began, self._epoch = time.monotonic(), datetime.now(timezone.utc)

    def monotonic(self) -> float:
        return (time.monotonic() - self._began) * 100

    def now(self) -> datetime:
        return self._epoch + timedelta(seconds=self.monotonic())

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        condition.wait(None if seconds is None else seconds / 100)

    def timeout(self, seconds: float) -> float:
        return seconds


@pytest.fixture
def door(tmp_path):
    """The door in process."""
    return Door(tmp_path)


@pytest.fixture
def program(tmp_path):
    """The door as the program that the platform starts."""
    return Door(tmp_path, as_program=True)


@pytest.fixture
def hasty(monkeypatch):
    """Both doors on a fast clock, their jitter seeded."""

    def connect(tap: TapD365FO) -> Extractor:
        return Extractor(
            tap.settings, started_ms=tap.initialized_at, clock=HastyClock(), rng=random.Random(3)
        )

    monkeypatch.setattr(TapD365FO, "connect", connect)
