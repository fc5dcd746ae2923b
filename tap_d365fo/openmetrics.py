"""A run's figures as OpenMetrics text, for a monitor: names and numbers, never a value of a row.

https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from tap_d365fo.watch import StreamFigures, Watch

Number = float | int
_UNITS = ("seconds", "bytes")


class _OfStream(NamedTuple):
    name: str
    kind: Literal["counter", "gauge"]
    says: str
    value: Callable[[StreamFigures, float], Number]


class _OfRun(NamedTuple):
    name: str
    kind: Literal["counter", "gauge"]
    says: str
    value: Callable[[Watch], Number]


_OF_A_STREAM = (
    _OfStream("rows", "counter", "Rows delivered.", lambda each, _: each.rows),
    _OfStream("deletes", "counter", "Rows told to be deleted.", lambda each, _: each.deletes),
    _OfStream("pages", "counter", "Pages written.", lambda each, _: each.pages),
    _OfStream("requests", "counter", "Requests sent.", lambda each, _: each.requests),
    _OfStream("received_bytes", "counter", "Bytes on the wire.", lambda each, _: each.bytes_on_wire),
    _OfStream(
        "throttled_seconds",
        "counter",
        "For how long throttled requests of the stream made all requests wait.",
        lambda each, _: each.throttled_seconds,
    ),
    _OfStream(
        "duration_seconds", "gauge", "From first request to last row.", lambda each, now: each.seconds(now)
    ),
    _OfStream("whole", "gauge", "1 once it was read whole.", lambda each, _: each.state == "whole"),
    _OfStream("failed", "gauge", "1 once it failed.", lambda each, _: each.state == "failed"),
)
_OF_THE_RUN = (
    _OfRun("rows", "counter", "Rows delivered.", lambda run: sum(each.rows for each in _of(run))),
    _OfRun(
        "deletes", "counter", "Rows told to be deleted.", lambda run: sum(each.deletes for each in _of(run))
    ),
    _OfRun("requests", "counter", "Requests answered, of whatever kind.", lambda run: run.traffic.requests),
    _OfRun("received_bytes", "counter", "Bytes on the wire.", lambda run: run.traffic.bytes_on_wire),
    _OfRun(
        "throttled_seconds",
        "counter",
        "For how long all requests were made to wait.",
        lambda run: run.throttled_seconds,
    ),
    _OfRun("duration_seconds", "gauge", "How long the run has taken.", lambda run: run.seconds),
    _OfRun("streams", "gauge", "Streams selected.", lambda run: len(run.streams)),
    _OfRun("streams_whole", "gauge", "Streams read whole.", lambda run: run.states["whole"]),
    _OfRun("streams_failed", "gauge", "Streams that failed.", lambda run: run.states["failed"]),
    _OfRun("whole", "gauge", "1 once every selected stream was read whole.", lambda run: run.is_whole),
    _OfRun("ended", "gauge", "1 once the run is over.", lambda run: run.is_over),
    _OfRun("timestamp_seconds", "gauge", "When this was written.", lambda run: run.now()),
)


def text_of(run: Watch) -> str:
    """Return the figures as they are now."""
    lines: list[str] = []
    now = run.clock()
    for each in _OF_A_STREAM:
        samples = [
            (f'{{stream="{_escaped(stream.name)}",method="{stream.method}"}}', each.value(stream, now))
            for stream in _of(run)
        ]
        lines += _family(f"d365fo_stream_{each.name}", each.kind, each.says, samples)
    for figure in _OF_THE_RUN:
        lines += _family(f"d365fo_run_{figure.name}", figure.kind, figure.says, [("", figure.value(run))])
    return "\n".join([*lines, "# EOF", ""])


def _family(name: str, kind: str, says: str, samples: Iterable[tuple[str, Number]]) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    unit = name.rpartition("_")[2]
    if unit in _UNITS:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {says}"
    suffix = "_total" if kind == "counter" else ""
    for labels, value in samples:
        yield f"{name}{suffix}{labels} {round(value + 0, 3)}"  # truth values are numbers here


def write(path: str, text: str) -> None:
    """Write a file so that whoever reads it meanwhile finds the old text or the new, whole."""
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(target)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _of(run: Watch) -> list[StreamFigures]:
    return list(run.streams.values())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
