"""What a stream's state says: where it stands per legal entity, and how far an unfinished read came.

The doors keep the state; this file alone knows its shape. The standing part is Singer's own
(`replication_key_value`, under `partitions` where rows have a legal entity); `progress` is there only
while a read is under way or was interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tap_d365fo.edm.model import DATA_AREA_ID
from tap_d365fo.errors import StateError
from tap_d365fo.extraction.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Mapping

GLOBAL = ""
"""Stands for the legal entity of rows that have none."""


@dataclass(slots=True)
class Progress:
    """An unfinished read: when it began, its version, and what of it is left."""

    started: int
    """Milliseconds since 1970, UTC; also the version of a full-table read."""
    upper: str | None = None
    highest: dict[str, Any] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)

    @property
    def is_of_window(self) -> bool:
        """Whether the read was one between stamps; a read of all rows knows none."""
        return bool(self.upper or self.highest or any(each.window for each in self.segments))

    def to_state(self) -> dict[str, Any]:
        """Return this progress as JSON."""
        state: dict[str, Any] = {
            "started": self.started,
            "segments": [each.to_state() for each in self.segments],
        }
        if self.upper:
            state["upper"] = self.upper
        if self.highest:
            state["highest"] = dict(self.highest)
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Any], *, column: str | None) -> Progress:
        """Read a progress back; raises StateError for anything else."""
        segments = [Segment.from_state(each, column=column) for each in state["segments"]]
        return cls(int(state["started"]), state.get("upper"), dict(state.get("highest", {})), segments)


@dataclass(slots=True)
class Bookmark:
    """The state of one stream."""

    replication_key: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    """Replication key value by legal entity, lower case; GLOBAL for entities without one."""
    progress: Progress | None = None

    @classmethod
    def from_state(cls, state: Mapping[str, Any], *, stream: str, replication_key: str | None) -> Bookmark:
        """Read a stream's state. Values of another replication key count for nothing.

        Raises StateError where the state was not written by this connector.
        """
        try:
            values = _values(state, replication_key)
            progress = state.get("progress")
            if progress is not None:
                progress = Progress.from_state(progress, column=replication_key)
            return cls(replication_key, values, progress)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise StateError(
                f"The state of stream {stream} is not one that this connector wrote ({exc!r}).",
                remedy="Start this stream without its state, or with a full refresh.",
            ) from exc

    def to_state(self) -> dict[str, Any]:
        """Return this bookmark as JSON."""
        state: dict[str, Any] = {}
        if GLOBAL in self.values:
            state.update(self._standing(self.values[GLOBAL]))
        partitions = [
            {"context": {DATA_AREA_ID: company}, **self._standing(value)}
            for company, value in sorted(self.values.items())
            if company != GLOBAL
        ]
        if partitions:
            state["partitions"] = partitions
        if self.progress is not None:
            state["progress"] = self.progress.to_state()
        return state

    def _standing(self, value: Any) -> dict[str, Any]:
        return {"replication_key": self.replication_key, "replication_key_value": value}


def _values(state: Mapping[str, Any], replication_key: str | None) -> dict[str, Any]:
    values = {}
    for each in [state, *state.get("partitions", [])]:
        company = each.get("context", {}).get(DATA_AREA_ID, GLOBAL).lower()
        if each.get("replication_key_value") is not None and each.get("replication_key") == replication_key:
            values[company] = _value(each["replication_key_value"])
    return values


def _value(value: Any) -> str | int:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise TypeError(f"replication_key_value {value!r}")
    return value
